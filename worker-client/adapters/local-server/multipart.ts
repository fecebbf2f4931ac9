import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";

/** A part of a form: a text, or a file of this machine. */
export type FormPart =
  | { name: string; contentType?: string; text: string }
  | { name: string; contentType: string; fileName: string; path: string };

/** The body of a `multipart/form-data` request, which is read while it is sent. */
export interface FormBody {
  headers: { "content-type": string; "content-length": number };
  stream: Readable;
}

export async function formBody(parts: readonly FormPart[]): Promise<FormBody> {
  const boundary = `dialout-${randomUUID()}`;
  const end = `--${boundary}--\r\n`;
  const heads = parts.map((part) => `--${boundary}\r\n${headersOf(part)}\r\n\r\n`);
  const sizes = await Promise.all(parts.map(sizeOf));
  const length = [...heads, ...parts.map(() => "\r\n"), end].reduce(
    (total, text) => total + Buffer.byteLength(text),
    sizes.reduce((total, size) => total + size, 0),
  );
  async function* pieces(): AsyncGenerator<Uint8Array | string> {
    for (const [index, part] of parts.entries()) {
      yield heads[index] ?? "";
      if ("text" in part) yield part.text;
      else yield* createReadStream(part.path);
      yield "\r\n";
    }
    yield end;
  }
  return {
    headers: {
      "content-type": `multipart/form-data; boundary=${boundary}`,
      "content-length": length,
    },
    stream: Readable.from(pieces(), { objectMode: false }),
  };
}

async function sizeOf(part: FormPart): Promise<number> {
  return "text" in part ? Buffer.byteLength(part.text) : (await stat(part.path)).size;
}

function headersOf(part: FormPart): string {
  const fileName = "fileName" in part ? `; filename="${quotable(part.fileName)}"` : "";
  const type = part.contentType === undefined ? "" : `\r\nContent-Type: ${plain(part.contentType)}`;
  return `Content-Disposition: form-data; name="${quotable(part.name)}"${fileName}${type}`;
}

/** As browsers write names: in UTF-8, with these characters replaced. Names come from submitters. */
function quotable(name: string): string {
  return name.replace(/\r?\n|\r/g, "%0D%0A").replaceAll('"', "%22");
}

/** A type that can't be sent in a header isn't sent. */
function plain(contentType: string): string {
  return /^[\x20-\x7e]+$/.test(contentType) ? contentType : "application/octet-stream";
}
