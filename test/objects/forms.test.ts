import { exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { SpaceSettings } from "../../src/protocol/resources.ts";
import { FORM_WRITERS, type SentPart } from "../http/form-writers.ts";
import {
  connectWorker,
  expectStatus,
  makeSpace,
  type NamedSpace,
  problemOf,
  runSql,
} from "./support.ts";

const BYTES = Uint8Array.from({ length: 300 }, (_, index) => index % 256);

function makeFormSpace(settings: Partial<SpaceSettings> = {}) {
  return makeSpace({ enable_file_upload: true, offline: "queue", ...settings });
}

function send(
  space: NamedSpace,
  body: BodyInit | undefined,
  contentType: string | undefined,
): Promise<Response> {
  const headers: Record<string, string> =
    contentType === undefined ? {} : { "content-type": contentType };
  const url = `https://edge.test/api/spaces/${space.name}/jobs`;
  return exports.default.fetch(url, { method: "POST", body, headers });
}

function text(name: string, value: string): SentPart {
  return { name, content: new TextEncoder().encode(value) };
}

function file(
  name: string,
  fileName: string,
  type?: string,
  content: Uint8Array = BYTES,
): SentPart {
  return { name, fileName, type, content };
}

function write(parts: readonly SentPart[], style = "curl") {
  const writer = FORM_WRITERS[style];
  if (!writer) throw new Error(`nobody writes forms like ${style}`);
  return writer(parts);
}

function sendParts(
  space: NamedSpace,
  parts: readonly SentPart[],
  style?: string,
): Promise<Response> {
  const { body, contentType } = write(parts, style);
  return send(space, body, contentType);
}

interface Accepted {
  input: Record<string, unknown>;
  priority: number;
  files: { field: string; name: string; content_type: string; size: number }[];
}

async function accept(space: NamedSpace, parts: readonly SentPart[], style?: string) {
  const answer = await expectStatus(202, await sendParts(space, parts, style));
  return answer.json<Accepted>();
}

describe("a submit as a form", () => {
  it.each(Object.keys(FORM_WRITERS))(
    "written by %s gives the worker its texts and files (H6)",
    async (style) => {
      const space = await makeFormSpace();
      const parts = [
        text("prompt", "eine Katze 猫\r\n"),
        text("größe", "7"),
        text("priority", "5"),
        file("image", 'größe "1".png', "image/png"),
        file("image", "b.webm", "audio/webm;codecs=opus"),
      ];
      const job = await accept(space, parts, style);
      expect(job).toMatchObject({
        input: { prompt: "eine Katze 猫\r\n", größe: "7" },
        priority: 5,
        files: [
          { field: "image", name: 'größe "1".png', content_type: "image/png", size: 300 },
          { field: "image", name: "b.webm", content_type: "audio/webm;codecs=opus", size: 300 },
        ],
      });
      const { socket } = await connectWorker(space);
      const frame = await socket.next("job");
      expect(frame.input).toEqual(job.input);
      for (const { url } of frame.files as { url: string }[]) {
        const served = await exports.default.fetch(url);
        expect(new Uint8Array(await served.arrayBuffer())).toEqual(BYTES);
      }
    },
  );

  it("keeps every field, whatever its name is, and every value of a field that stands twice (H6f)", async () => {
    const space = await makeFormSpace();
    const names = [
      "__proto__",
      "constructor",
      "toString",
      "hasOwnProperty",
      "",
      "a.b[0]",
      "length",
    ];
    const once = names.map((name) => text(name, `the value of ${name}`));
    const job = await accept(space, [...once, text("tag", "a"), text("tag", ""), text("tag", "a")]);
    const expected = names.map((name): [string, unknown] => [name, `the value of ${name}`]);
    expect(Object.entries(job.input).sort()).toEqual([...expected, ["tag", ["a", "", "a"]]].sort());
    const { socket } = await connectWorker(space);
    const { input } = await socket.next("job");
    expect(Object.entries(input as object).sort()).toEqual(Object.entries(job.input).sort());
  });

  it("keeps every field of the part `input`, but a part counts more than a field of the same name (H6j)", async () => {
    const space = await makeFormSpace();
    const input = '\ufeff{"__proto__":{"a":1},"seed":18446744073709551615,"steps":30}';
    const answer = await sendParts(space, [text("steps", "40"), text("input", input)]);
    const body = await (await expectStatus(202, answer)).text();
    expect(body).toContain('"__proto__":{"a":1}');
    expect(body).toContain('"seed":18446744073709551615');
    expect(body).toContain('"steps":"40"');
  });

  it("may have `input` as a JSON file, as curl sends it, in a space that takes no files (H6h)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const json = new TextEncoder().encode('{"steps": 30, "seed": 1.0}');
    const parts = [file("input", "x.json", "application/json", json), text("prompt", "a cat")];
    const job = await accept(space, parts);
    expect(job).toMatchObject({ input: { steps: 30, seed: 1, prompt: "a cat" }, files: [] });
    const withCharset = file("input", "blob", "Application/JSON; charset=utf-8", json);
    expect(await accept(space, [withCharset])).toMatchObject({ input: { steps: 30 }, files: [] });
    const other = file("input", "x.json", "application/octet-stream", json);
    expect(await problemOf(422, sendParts(space, [other]))).toMatchObject({
      code: "file_upload_not_enabled",
    });
  });

  it("keeps a JSON file in the field `input` as a file if `input` is there as text too (H6h)", async () => {
    const space = await makeFormSpace();
    const json = file("input", "x.json", "application/json");
    const job = await accept(space, [text("input", '{"n":1}'), json]);
    expect(job).toMatchObject({ input: { n: 1 }, files: [{ field: "input", name: "x.json" }] });
  });

  it("without the files that its user did not choose needs no space that takes files (H6d)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const unchosen = file("image", "", "application/octet-stream", new Uint8Array());
    const job = await accept(space, [text("prompt", "a cat"), unchosen], "a browser");
    expect(job).toMatchObject({ input: { prompt: "a cat" }, files: [] });
    expect(Object.keys(job.input)).toEqual(["prompt"]);
  });

  it("may be empty", async () => {
    expect(await accept(await makeFormSpace(), [])).toMatchObject({ input: {}, files: [] });
  });

  it.each([
    ["5", 5],
    ["1.0", 1],
    [" 5 ", 5],
    ["1e1", 10],
    ["-3", -3],
    ["+5", 5],
  ])("reads the priority %j as %j (H6)", async (sent, priority) => {
    expect(await accept(await makeFormSpace(), [text("priority", sent)])).toMatchObject({
      priority,
    });
  });

  it.each([
    ["priority", "0x10"],
    ["priority", "Infinity"],
    ["priority", "NaN"],
    ["priority", ""],
    ["priority", "1_0"],
    ["priority", "1.5"],
    ["priority", "1e400"],
    ["job_timeout_s", "1e400"],
    ["cancel_on_disconnect", "yes"],
  ])("with %s=%j is refused (H6)", async (option, sent) => {
    const problem = await problemOf(422, sendParts(await makeFormSpace(), [text(option, sent)]));
    expect(problem).toMatchObject({ code: "invalid_request", errors: [{ path: option }] });
  });

  it("with an option that stands twice is refused, except for `requires`, which is a list (H6i)", async () => {
    const space = await makeFormSpace();
    const twice = [text("priority", "1"), text("priority", "2")];
    expect((await problemOf(422, sendParts(space, twice))).detail).toContain("priority");
    await accept(space, [text("requires", "gpu, ocr"), text("requires", "big")]);
    const [row] = await runSql<{ requires: string }>(space, "SELECT requires FROM jobs");
    expect(JSON.parse(row?.requires ?? "")).toEqual(expect.arrayContaining(["big", "gpu", "ocr"]));
  });

  it("with an `input` that is no object is refused (H6)", async () => {
    const space = await makeFormSpace();
    for (const input of ["[1]", "{", "1.0", "18446744073709551615", "null", '"x"', ""]) {
      const problem = await problemOf(422, sendParts(space, [text("input", input)]));
      expect(problem).toMatchObject({ code: "invalid_request" });
      expect(problem.detail).toContain("`input` must be a JSON object");
    }
  });

  it("with more text than a JSON body may have is refused, before it is put together (H6e)", async () => {
    const space = await makeFormSpace();
    const half = "x".repeat(LIMITS.jsonBodyBytes / 2);
    const over = [text("a", half), text("b", half), text("c", "x")];
    const problem = await problemOf(413, sendParts(space, over));
    expect(problem.detail).toContain("text parts");
    const large = text("a", "x".repeat(LIMITS.inputBytes));
    expect(await problemOf(413, sendParts(space, [large]))).toMatchObject({
      code: "payload_too_large",
    });
  });

  it("keeps the long name of a file's field, and refuses one that is too long (H6e)", async () => {
    const space = await makeFormSpace();
    const longest = "é".repeat(200);
    const { files } = await accept(space, [file(longest, "a.png")]);
    expect(files).toMatchObject([{ field: longest }]);
    const problem = await problemOf(422, sendParts(space, [file(`${longest}x`, "a.png")]));
    expect(problem.detail).toContain("200");
  });
});

/** Bytes, then so many zeros, then bytes, never all of them in memory. */
function streamOf(before: Uint8Array, zeros: number, after: Uint8Array): ReadableStream {
  const PIECE = 1_048_576;
  let left = zeros;
  return new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(before),
    pull: (controller) => {
      if (left > 0) controller.enqueue(new Uint8Array(Math.min(left, PIECE)));
      else {
        controller.enqueue(after);
        controller.close();
      }
      left -= PIECE;
    },
  });
}

describe("the size of a form", () => {
  it("may be that of the largest upload, and not one byte more", async () => {
    const space = await makeFormSpace();
    const { body, contentType } = write([file("image", "a", "a/b", new Uint8Array())]);
    const end = body.lastIndexOf(0x0d, body.length - 3);
    const most = LIMITS.uploadBytes - body.length;
    const send_ = (size: number) =>
      send(space, streamOf(body.slice(0, end), size, body.slice(end)), contentType);
    const answer = await expectStatus(202, await send_(most));
    expect((await answer.json<Accepted>()).files).toMatchObject([{ size: most }]);
    expect(await problemOf(413, send_(most + 1))).toMatchObject({ code: "payload_too_large" });
  });
});

describe("the type of a file", () => {
  it.each([
    ["audio/webm;codecs=opus", "audio/webm;codecs=opus"],
    ['video/mp4; codecs="avc1.42E01E, mp4a.40.2"', 'video/mp4; codecs="avc1.42E01E, mp4a.40.2"'],
    ["text/plain; charset", "text/plain"],
    ["text/plain; a=\u0007", "text/plain"],
    ["image/svg+xml", "image/svg+xml"],
    [
      "application/vnd.openxmlformats-officedocument.presentationml.presentation",
      "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ],
    ["<script>", "application/octet-stream"],
    ["text", "application/octet-stream"],
    ["", "application/octet-stream"],
    [`text/${"x".repeat(200)}`, "application/octet-stream"],
  ])("%j is kept as %j (H6k)", async (sent, kept) => {
    const { files } = await accept(await makeFormSpace(), [file("image", "a", sent)]);
    expect(files).toMatchObject([{ content_type: kept }]);
  });
});

describe("the content type of a submit", () => {
  const JSON_BODY = '{"input":{"n":1}}';

  it.each([
    ["APPLICATION/JSON"],
    ["application/json;charset=UTF-8"],
    ['application/json ; charset="utf-8"'],
    ["application/json; charset=us-ascii"],
    ["application/merge-patch+json"],
  ])("may be %s, also after a byte order mark (H2)", async (type) => {
    const space = await makeFormSpace();
    await expectStatus(202, await send(space, JSON_BODY, type));
    await expectStatus(202, await send(space, `\ufeff${JSON_BODY}`, type));
  });

  it.each([
    ["application/json; charset=latin1", "latin1"],
    ["application/json; charset=utf-16", "utf-16"],
    ["application/x-www-form-urlencoded", "multipart/form-data"],
    ["text/plain;charset=UTF-8", "application/json"],
    ["multipart/mixed; boundary=b", "multipart/form-data"],
    ["multipart/form-datax; boundary=b", "multipart/form-data"],
    ["application/jsonl", "application/json"],
    [undefined, "application/json"],
  ])("%j is refused with what to send (H3)", async (type, hint) => {
    const body = new TextEncoder().encode(JSON_BODY);
    const problem = await problemOf(415, send(await makeFormSpace(), body, type));
    expect(problem.code).toBe("unsupported_media_type");
    expect(problem.detail).toContain(hint);
  });

  it("of a form needs a boundary (H3)", async () => {
    const space = await makeFormSpace();
    for (const type of ["multipart/form-data", "multipart/form-data; charset=utf-8"]) {
      const problem = await problemOf(400, send(space, "--b--\r\n", type));
      expect(problem.code).toBe("invalid_multipart");
      expect(problem.detail).toContain("boundary");
    }
    const upper = 'MULTIPART/FORM-DATA;charset=utf-8;BOUNDARY="b"';
    await expectStatus(202, await send(space, "--b--", upper));
  });
});
