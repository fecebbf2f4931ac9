import { Buffer } from "node:buffer";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type FormPart, readParts, textOf } from "../../src/http/form.ts";
import { ProblemError } from "../../src/http/problems.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { anyText } from "../protocol/noise.ts";
import { FORM_WRITERS, type FormWriter, type SentForm, type SentPart } from "./form-writers.ts";

/** What a browser writes as `%22` it also writes for a quote, and a backslash may or may not escape: both are left out. */
const anyName = fc
  .oneof(
    anyText({ maxLength: 20 }),
    fc.constantFrom("__proto__", "constructor", "toString", "größe", 'a"b', "a;b=c", "", "input"),
    fc.constantFrom("a.png", "a b.png", "猫.png", 'a"; filename="b', "a\r\nb", "100%.png"),
  )
  .filter((name) => !/%(22|0d|0a)|\\|^=\?/i.test(name));

/** Content that resembles the boundaries around it. */
const anyContent = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .array(
      fc.constantFrom(
        "\r\n",
        "--",
        "-",
        "\r",
        "\n",
        "------WebKitFormBoundary",
        "8d7b0e",
        "\0",
        "x",
      ),
      { maxLength: 12 },
    )
    .map((pieces) => new Uint8Array(Buffer.from(pieces.join("")))),
);

const anyPart: fc.Arbitrary<SentPart> = fc.oneof(
  fc.record({ name: anyName, content: anyText().map((text) => new Uint8Array(Buffer.from(text))) }),
  fc.record({
    name: anyName,
    fileName: anyName.filter((name) => name !== ""),
    content: anyContent,
  }),
);

function sent({ name, fileName = "", content }: SentPart) {
  return { field: name, fileName, content: Buffer.from(content).toString("latin1") };
}

function received({ field, fileName, bytes }: FormPart) {
  return { field, fileName: fileName ?? "", content: Buffer.from(bytes).toString("latin1") };
}

/** The whole form, as it comes in pieces of these lengths, again and again; without any, in one. */
async function read(
  { body, contentType }: SentForm,
  lengths: readonly number[] = [body.length],
): Promise<FormPart[]> {
  const parts: FormPart[] = [];
  for await (const { content, ...headers } of readParts(cut(body, lengths), contentType)) {
    const pieces: Uint8Array[] = [];
    for await (const piece of content) pieces.push(Buffer.from(piece));
    const bytes = new Uint8Array(Buffer.concat(pieces));
    // The intake leaves out what a browser sends for a file that nobody chose.
    if (headers.fileName !== "" || bytes.length > 0) parts.push({ ...headers, bytes });
  }
  return parts;
}

async function* cut(body: Uint8Array, lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, turn = 0; at < body.length; turn += 1) {
    const length = Math.max(1, lengths[turn % lengths.length] ?? 1);
    // A piece of its own: what was before it in memory must not be relied on.
    yield body.slice(at, at + length);
    at += length;
  }
}

const BOUNDARY = "multipart/form-data; boundary=b";

/** A form whose lines are given, each of which ends with CRLF. */
function lines(...text: string[]): SentForm {
  const body = new Uint8Array(Buffer.from(`${text.join("\r\n")}\r\n`, "latin1"));
  return { body, contentType: BOUNDARY };
}

function onePart(...headers: string[]): SentForm {
  return lines("--b", ...headers, "", "content", "--b--");
}

async function problemOf(read: () => unknown): Promise<ProblemError> {
  try {
    await read();
  } catch (error) {
    if (error instanceof ProblemError) return error;
    throw error;
  }
  throw new Error("it was read");
}

describe("a form", () => {
  it.each(Object.entries(FORM_WRITERS))(
    "as %s writes it has every part, in order, with every byte, however it is cut (H6, H29)",
    async (_, write: FormWriter) => {
      const lengths = fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 5 });
      await fc.assert(
        fc.asyncProperty(fc.array(anyPart, { maxLength: 8 }), lengths, async (parts, cuts) => {
          const kept = parts.filter(({ fileName }) => fileName !== "");
          expect((await read(write(parts))).map(received)).toEqual(kept.map(sent));
          expect((await read(write(parts), cuts)).map(received)).toEqual(kept.map(sent));
        }),
        { numRuns: 200 },
      );
    },
  );

  it("that is damaged is read or refused with a reason, and never with another error (H3)", async () => {
    const writers = fc.constantFrom(...Object.values(FORM_WRITERS));
    const damage = fc.record({ at: fc.nat(), by: fc.string({ maxLength: 4 }), drop: fc.nat(9) });
    const forms = fc.array(anyPart, { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(forms, writers, damage, async (parts, write, change) => {
        const { body, contentType } = write(parts);
        const at = change.at % (body.length + 1);
        const damaged = Buffer.concat([
          body.subarray(0, at),
          Buffer.from(change.by),
          body.subarray(at + change.drop),
        ]);
        const outcomes = [[damaged.length], [1], [7, 40]].map(async (lengths) => {
          try {
            const read_ = await read({ body: new Uint8Array(damaged), contentType }, lengths);
            return read_.map((part) => [part.field, textOf(part)]);
          } catch (error) {
            if (!(error instanceof ProblemError)) throw error;
            expect(error.message.length).toBeGreaterThan(20);
            return error.code;
          }
        });
        const [whole, ...cut] = await Promise.all(outcomes);
        expect(cut).toEqual([whole, whole]);
      }),
      { numRuns: 250 },
    );
  });

  it("that is cut off anywhere is refused (H3)", async () => {
    const { body, contentType } = (FORM_WRITERS.curl as FormWriter)([
      { name: "prompt", content: new Uint8Array(Buffer.from("a cat")) },
      { name: "image", fileName: "a.png", content: new Uint8Array(60) },
    ]);
    const whole = body.length - "\r\n".length;
    for (let length = 0; length < whole; length += 1) {
      const cut = await problemOf(() => read({ body: body.slice(0, length), contentType }));
      expect(cut.code).toBe("invalid_multipart");
    }
    expect(await read({ body: body.slice(0, whole), contentType })).toHaveLength(2);
  });
});

describe("a part of a form", () => {
  it.each([
    ["form-data; name=prompt", "prompt", null],
    ["form-data; name=image; filename=a.png", "image", "a.png"],
    ["form-data;name=image;filename=a b.png", "image", "a b.png"],
    ["form-data; filename=a.png; name=image", "image", "a.png"],
    ['form-data; name="image"; filename=a.png;', "image", "a.png"],
    [`form-data; name="image"; filename="x"; filename*=UTF-8''%C3%A9%20.png`, "image", "é .png"],
    ["form-data; name=image; filename*=iso-8859-1'en'%A3.png", "image", "£.png"],
    ["form-data; name=image; filename=x.png; filename*=UTF-8''%E9", "image", "x.png"],
    ["form-data; name=image; filename*=UTF-8''%E9", "image", "UTF-8''%E9"],
    [`form-data; name=image; filename*0*=UTF-8''%C3%A9; filename*1="%20.png"`, "image", "é%20.png"],
    [`form-data; name=image; filename*0="a b"; filename*1=".png"`, "image", "a b.png"],
    ["form-data; name=image; filename*=koi8-r''%E9; filename=x", "image", "x"],
    ['form-data; name="=?utf-8?B?Z3LDtsOfZQ==?="', "größe", null],
    ['form-data; name="a%22b%0D%0A"; filename="100%25.png"', 'a"b\r\n', "100%25.png"],
    [
      String.raw`form-data; name="a\"b"; filename="C:\Users\me\a.txt"`,
      'a"b',
      "C:\\Users\\me\\a.txt",
    ],
    [String.raw`form-data; name="a\\b"; filename="C:\temp\"`, "a\\b", "C:\\temp\\"],
    ['form-data; name="a"; filename="a;b=c.png"', "a", "a;b=c.png"],
    ['form-data; name=""', "", null],
  ])(
    "with the header %j has its name and its file's name (H6, H6b)",
    async (header, field, fileName) => {
      const [part] = await read(onePart(`Content-Disposition: ${header}`));
      expect(part).toMatchObject({ field, fileName });
    },
  );

  it.each([
    ["without headers", ["X: y"], "Part 1 needs a header"],
    ["without a name", ["Content-Disposition: form-data"], "Part 1 has no name"],
    ["that is no form data", ["Content-Disposition: attachment; name=a"], "Part 1 needs a header"],
    ["named twice", ["Content-Disposition: form-data; name=a; name=b"], "Part 1 needs a header"],
    [
      "with two headers",
      ["Content-Disposition: form-data; name=a", "content-disposition: form-data; name=b"],
      "Part 1",
    ],
    ["with an open quote", ['Content-Disposition: form-data; name="a'], "Part 1 needs a header"],
    ["in Latin-1", ["Content-Disposition: form-data; name=\xe9"], "not UTF-8"],
    [
      "with a line that is no header",
      ["Content-Disposition: form-data; name=a;", 'filename="a.png"'],
      "without a colon",
    ],
    [
      "with parts of its own",
      ["Content-Disposition: form-data; name=a", "Content-Type: multipart/mixed; boundary=c"],
      "has parts itself",
    ],
    [
      "in base64",
      ["Content-Disposition: form-data; name=a", "Content-Transfer-Encoding: base64"],
      "send its bytes as they are",
    ],
    ["with large headers", [`Content-Disposition: form-data; name=${"a".repeat(9_000)}`], "8192"],
  ])("%s is refused with its reason (H6c)", async (_, headers, reason) => {
    const problem = await problemOf(() => read(onePart(...headers)));
    expect(problem.code).toBe("invalid_multipart");
    expect(problem.message).toContain(reason);
  });

  it("may have a header of several lines, spaces after its boundary, and other headers first", async () => {
    const form = lines(
      "--b \t",
      "X-Y:",
      "\tz",
      "Content-Disposition: form-data;",
      '  name="image";',
      '\tfilename="a.png"',
      "Content-Type: image/png",
      "",
      "bytes",
      "--b--",
    );
    expect(await read(form)).toMatchObject([
      { field: "image", fileName: "a.png", type: "image/png" },
    ]);
  });

  it("may have a harmless `Content-Transfer-Encoding`, and headers that nobody knows", async () => {
    const headers = ["Content-Disposition: form-data; name=a", "X-Y: z"];
    expect(await read(onePart(...headers, "Content-Transfer-Encoding: 8bit"))).toHaveLength(1);
  });

  it("without any headers, or whose headers never end, is not taken for a piece of the next one (H6c)", async () => {
    const next = ["--b", "Content-Disposition: form-data; name=a", "", "A", "--b--"];
    for (const form of [
      lines("--b", "", "lost", ...next),
      lines("--b", "X: y\n\nlost", ...next),
      lines("--b", "Content-Disposition: form-data; name=lost", ...next),
      lines("--b", "Content-Disposition: form-data; name=lost", "", ...next),
      lines("--bx", "Content-Disposition: form-data; name=lost", "", "", ...next),
    ]) {
      expect((await problemOf(() => read(form))).code).toBe("invalid_multipart");
    }
  });

  it("is text in UTF-8, of which every character is kept, or is refused (H6c)", async () => {
    const text = async (type: string, bytes: string) => {
      const disposition = "Content-Disposition: form-data; name=a";
      const [part] = await read(
        lines("--b", disposition, `Content-Type: ${type}`, "", bytes, "--b--"),
      );
      return textOf(part as FormPart);
    };
    expect(await text("text/plain; charset=UTF-8", "\xef\xbb\xbf\xc3\xa9\r\n")).toBe("\ufeffé\r\n");
    expect(await text("application/octet-stream", "a\0b")).toBe("a\0b");
    expect(await problemOf(() => text("text/plain", "\xe9"))).toMatchObject({
      code: "invalid_multipart",
      message: expect.stringContaining("filename"),
    });
    expect(await problemOf(() => text("text/plain; charset=iso-8859-1", "\xe9"))).toMatchObject({
      code: "unsupported_media_type",
      message: expect.stringContaining("iso-8859-1"),
    });
  });
});

describe("a form that can't be read", () => {
  it.each<[string, SentForm, string]>([
    [
      "has a boundary that is far too long",
      { ...lines(""), contentType: `multipart/form-data; boundary=${"b".repeat(201)}` },
      "boundary",
    ],
    [
      "has no boundary in its type",
      { ...lines(""), contentType: "multipart/form-data" },
      "boundary",
    ],
    [
      "has an empty boundary",
      { ...lines(""), contentType: `${BOUNDARY.slice(0, -1)}""` },
      "boundary",
    ],
    ["is empty", { body: new Uint8Array(), contentType: BOUNDARY }, "The body is empty"],
    ["has another boundary", lines("--c", "--c--"), "doesn't have the boundary"],
    ["ends early", lines("--b", "Content-Disposition: form-data; name=a", "", "A"), "cut off"],
    [
      "has lines that end with LF",
      lines('--b\nContent-Disposition: form-data; name="a"\n\nA\n--b--\n'),
      "must end with CRLF",
    ],
  ])("because it %s is refused with its reason (H3)", async (_, form, reason) => {
    const problem = await problemOf(() => read(form));
    expect(problem.code).toBe("invalid_multipart");
    expect(problem.message).toContain(reason);
  });

  it("because it has too many parts is refused, while the most parts are read (H6e)", async () => {
    const form = (count: number) => {
      const parts = Array.from({ length: count }, (_, index) => ({
        name: String(index),
        content: new Uint8Array(),
      }));
      return () => read((FORM_WRITERS.curl as FormWriter)(parts));
    };
    expect(await form(LIMITS.formParts)()).toHaveLength(LIMITS.formParts);
    expect((await problemOf(form(LIMITS.formParts + 1))).code).toBe("payload_too_large");
  });

  it("is refused quickly, whatever its headers are", async () => {
    const header = `Content-Disposition: form-data; name=${" ".repeat(4_000)}"${"\\".repeat(4_000)}`;
    const parts = Array.from({ length: LIMITS.formParts }, () => ["--b", header, "", ""]).flat();
    const start = performance.now();
    await problemOf(() => read(lines(...parts, "--b--")));
    await problemOf(() => read(lines("--b", "X: y", "", "", ...parts.slice(4), "--b--")));
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});
