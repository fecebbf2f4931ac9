import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { FileContent, OpenedContent } from "./file-upload.ts";

/** How many bytes are handed to the connection at once. */
const PIECE_BYTES = 65_536;

/** Opens what becomes an output file, in Node.js: large files are never in memory as a whole. */
export async function openContent(content: FileContent): Promise<OpenedContent> {
  if (content instanceof Uint8Array) return opened(content.byteLength, () => pieces(content));
  if (content instanceof Blob) return opened(content.size, () => content.stream());
  const { path } = content;
  return opened((await stat(path)).size, () => createReadStream(path));
}

function opened(size: number, read: () => AsyncIterable<Uint8Array>): OpenedContent {
  return {
    size,
    async sha256(signal) {
      const hash = createHash("sha256");
      for await (const piece of read()) {
        signal.throwIfAborted();
        hash.update(piece);
      }
      return hash.digest("base64");
    },
    body: (onSent) => ({ body: streamOf(told(read(), onSent)), duplex: "half" }),
  };
}

/** `ReadableStream.from` is not known to the types of pages, which are checked together with this. */
function streamOf(pieces: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return(undefined);
    },
  });
}

/** The bytes; each piece is reported when the connection has taken it. */
async function* told(
  bytes: AsyncIterable<Uint8Array>,
  onSent: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of bytes) {
    yield piece;
    onSent(piece.byteLength);
  }
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += PIECE_BYTES) {
    yield bytes.subarray(at, at + PIECE_BYTES);
  }
}
