import { describe, expect, it } from "vitest";
import type { AppContext } from "../../src/http/context.ts";
import { type IntakeOptions, type ReceivedForm, receiveForm } from "../../src/http/form-intake.ts";
import { ProblemError } from "../../src/http/problems.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { MemoryBucket, sha256Of, someBytes } from "../support/memory-bucket.ts";
import { FORM_WRITERS, type FormWriter, type SentPart } from "./form-writers.ts";

const UPLOAD = `upload:demo.${"a".repeat(24)}`;

function text(name: string, value: string): SentPart {
  return { name, content: Buffer.from(value) };
}

function file(name: string, fileName: string, content: string | Uint8Array = "x", type?: string) {
  return { name, fileName, type, content: Buffer.from(content) } satisfies SentPart;
}

/** Receives a form of these parts; its stream ends after `length` bytes of it. */
async function receive(
  parts: readonly SentPart[],
  {
    bucket = new MemoryBucket(),
    length = Number.POSITIVE_INFINITY,
    ...options
  }: {
    bucket?: MemoryBucket;
    length?: number;
  } & IntakeOptions = {},
): Promise<{ form: ReceivedForm; bucket: MemoryBucket }> {
  const { body, contentType } = (FORM_WRITERS.curl as FormWriter)(parts);
  const headers: Record<string, string> = { "content-type": contentType };
  const context = {
    env: { FILES: bucket, FILE_SWEEP: { getByName: () => ({ begin: async () => undefined }) } },
    req: {
      header: (name: string) => headers[name],
      raw: { body: new Blob([body.slice(0, length)]).stream() },
    },
  };
  const form = await receiveForm(context as unknown as AppContext, "demo", options);
  return { form, bucket };
}

async function codeOf(received: Promise<unknown>): Promise<string> {
  try {
    await received;
  } catch (error) {
    if (error instanceof ProblemError) return error.code;
    throw error;
  }
  return "accepted";
}

describe("a form that is received", () => {
  it("has its files in the bucket, in their order, with their sizes and checksums (H6, H29)", async () => {
    const large = someBytes(9_000_000);
    const parts = [file("a", "a.png"), file("b", "b.bin", large), file("a", "c.png", "")];
    const { form, bucket } = await receive([text("prompt", "hi"), ...parts, text("seed", "7")]);
    expect(form.texts.map(({ field }) => field)).toEqual(["prompt", "seed"]);
    expect(form.files).toMatchObject([
      { field: "a", name: "a.png", size: 1, sha256: sha256Of(Buffer.from("x")) },
      { field: "b", name: "b.bin", size: large.length, sha256: sha256Of(large) },
      { field: "a", name: "c.png", size: 0 },
    ]);
    const keys = form.files.map((stored) => ("key" in stored ? stored.key : ""));
    expect(bucket.keys).toEqual(keys);
    expect(keys[0]).toMatch(/^spaces\/demo\/inputs\/[0-9A-Z]{26}\/0$/);
    await form.discard();
    expect([bucket.keys, bucket.uploads.size]).toEqual([[], 0]);
  });

  it("leaves nothing if it breaks off or is refused, wherever that is (H29)", async () => {
    const parts = [file("a", "a.png"), file("b", "b.bin", someBytes(9_000_000)), text("c", "d")];
    for (const length of [300, 5_000_000, 8_800_000, 9_000_250]) {
      const bucket = new MemoryBucket();
      expect(await codeOf(receive(parts, { bucket, length }))).toBe("invalid_multipart");
      expect([bucket.keys, bucket.uploads.size], String(length)).toEqual([[], 0]);
    }
    for (const refused of ["a", "b"]) {
      const bucket = new MemoryBucket();
      const admit = (field: string) => {
        if (field === refused) throw new ProblemError("file_upload_not_enabled", "Leave it out.");
      };
      expect(await codeOf(receive(parts, { bucket, admit }))).toBe("file_upload_not_enabled");
      expect(bucket.keys).toEqual([]);
    }
    const bucket = new MemoryBucket();
    bucket.failNext = "uploadPart";
    await expect(receive(parts, { bucket })).rejects.toThrow("refuses");
    expect([bucket.keys, bucket.uploads.size]).toEqual([[], 0]);
  });

  it("leaves out a file that nobody chose, and everything empty if it is asked to (H6d, F1a)", async () => {
    const parts = [
      file("a", ""),
      file("b", "", "bytes"),
      file("c", "c.png", ""),
      text("d", ""),
    ].map((part) => (part.name === "a" ? { ...part, content: Buffer.alloc(0) } : part));
    const fieldsOf = ({ form }: { form: ReceivedForm }) =>
      [...form.files, ...form.texts].map(({ field }) => field);
    expect(fieldsOf(await receive(parts))).toEqual(["b", "c", "d"]);
    expect(fieldsOf(await receive(parts, { dropsEmpty: true }))).toEqual(["b"]);
    const fieldOf = (field: string) => `new ${field}`;
    expect(fieldsOf(await receive(parts, { fieldOf }))).toEqual(["new b", "new c", "new d"]);
  });

  it("may have `input` as a JSON file, but only if it isn't there as text (H6h)", async () => {
    const json = file("input", "i.json", '{"a":1}', "application/json");
    const other = file("input", "i.txt", '{"a":1}', "text/plain");
    const inText = text("input", "{}");
    for (const [parts, inputs, files] of [
      [[json], 1, 0],
      [[json, inText], 1, 1],
      [[inText, json], 1, 1],
      [[other], 0, 1],
    ] as const) {
      const { form } = await receive(parts);
      expect([form.inputs.length, form.files.length]).toEqual([inputs, files]);
      expect(form.inputs[0]?.fileName ?? null).toBe(parts.length === 1 && inputs ? "i.json" : null);
    }
  });

  it("names uploads by texts of that form, but not in options or inside of other texts (H30f)", async () => {
    const { form } = await receive([
      text("image", UPLOAD),
      text("idempotency_key", UPLOAD),
      text("prompt", `${UPLOAD} `),
      text("input", UPLOAD),
    ]);
    expect(form.files).toEqual([{ field: "image", upload: UPLOAD.replace("upload:", "") }]);
    expect(form.texts.map(({ field }) => field)).toEqual(["idempotency_key", "prompt"]);
    expect(form.inputs).toHaveLength(1);
  });

  it("has 16 files at most, in fields with 200 characters at most (H6e)", async () => {
    const files = (count: number) => Array.from({ length: count }, (_, n) => file(`f${n}`, "a"));
    expect((await receive(files(16))).form.files).toHaveLength(16);
    expect(await codeOf(receive(files(17)))).toBe("invalid_request");
    expect(await codeOf(receive([...files(16), text("x", UPLOAD)]))).toBe("invalid_request");
    expect(await codeOf(receive([file("x".repeat(200), "a")]))).toBe("accepted");
    await expect(receive([file("x".repeat(201), "a")])).rejects.toThrow(/^The field `x{50,61}…`/);
  });

  it("has 1 MiB of text at most, of all its parts together (H6e)", async () => {
    const half = "x".repeat(LIMITS.jsonBodyBytes / 2);
    expect(await codeOf(receive([text("a", half), text("b", half)]))).toBe("accepted");
    expect(await codeOf(receive([text("a", half), text("b", `${half}x`)]))).toBe(
      "payload_too_large",
    );
    const input = file("input", "i.json", `${half}x`, "application/json");
    expect(await codeOf(receive([input, text("b", half)]))).toBe("payload_too_large");
  });
});
