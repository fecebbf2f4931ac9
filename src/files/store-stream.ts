import { contentTypeOf, SNIFFED_BYTES } from "./content-type.ts";

/** What is known of a file before its bytes come. */
export interface ExpectedFile {
  /** Bytes: the bucket must know how many come. */
  size: number;
  /** In hexadecimal digits; `null` if it isn't known. */
  sha256: string | null;
  /** As it was sent; `null` if nothing was. */
  declaredType: string | null;
  /** Kept beside the file: for its name in headers. */
  headerName: string;
}

/** A file that is in the bucket now. */
export interface StreamedFile {
  contentType: string;
  sha256: string;
}

/** The bytes are not those that were announced; nothing of them was kept. */
export class WrongChecksum extends Error {}

/**
 * Stores a file while it comes: only a few pieces of it are ever in memory.
 *
 * @throws {WrongChecksum} if its checksum is not the expected one
 * @throws if fewer or more bytes come than were announced, or the bucket refuses them; nothing is kept then
 */
export async function storeStream(
  bucket: R2Bucket,
  key: string,
  body: ReadableStream<Uint8Array>,
  { size, sha256, declaredType, headerName }: ExpectedFile,
): Promise<StreamedFile> {
  const reader = body.getReader();
  const head = await readHead(reader);
  const contentType = contentTypeOf(bytesOf(head), declaredType);
  const { readable, writable } = new FixedLengthStream(size);
  const storing = bucket.put(key, readable, {
    ...(sha256 === null ? {} : { sha256 }),
    httpMetadata: { contentType },
    customMetadata: { name: headerName },
  });
  const sending =
    sha256 === null
      ? sendHashed(head, reader, writable)
      : sendOn(head, reader, body, writable).then(() => sha256);
  const [sent, stored] = await Promise.allSettled([sending, storing]);
  if (stored.status === "rejected" && isChecksumError(stored.reason)) throw new WrongChecksum();
  if (sent.status === "rejected") throw sent.reason;
  if (stored.status === "rejected") throw stored.reason;
  return { contentType, sha256: sent.value };
}

/** The bucket says so in words only. */
function isChecksumError(error: unknown): boolean {
  return error instanceof Error && /SHA-256 checksum|\(10037\)/.test(error.message);
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

/** Reads as many pieces as are needed to tell what the file is. */
async function readHead(reader: Reader): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for (let bytes = 0; bytes < SNIFFED_BYTES; ) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    bytes += value.byteLength;
  }
  return pieces;
}

function bytesOf(pieces: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(pieces).subarray(0, SNIFFED_BYTES);
}

/** Passes all of a body on. What comes after the head doesn't pass through this program, which saves time and memory. */
async function sendOn(
  head: readonly Uint8Array[],
  reader: Reader,
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
): Promise<void> {
  const writer = writable.getWriter();
  for (const piece of head) await writer.write(piece);
  writer.releaseLock();
  reader.releaseLock();
  await body.pipeTo(writable);
}

/** Passes all of a body on and returns its SHA-256, in hexadecimal digits. */
async function sendHashed(
  head: readonly Uint8Array[],
  reader: Reader,
  writable: WritableStream<Uint8Array>,
): Promise<string> {
  const digest = new crypto.DigestStream("SHA-256");
  // It fails with the stream, whose error is the one to report.
  void digest.digest.catch(() => undefined);
  await pump(head, reader, [writable.getWriter(), digest.getWriter()]);
  return Buffer.from(await digest.digest).toString("hex");
}

/** Passes the pieces on to all writers, as fast as the slowest of them takes them. */
async function pump(
  head: readonly Uint8Array[],
  reader: Reader,
  writers: readonly WritableStreamDefaultWriter<Uint8Array>[],
): Promise<void> {
  const write = (piece: Uint8Array) => Promise.all(writers.map((writer) => writer.write(piece)));
  try {
    for (const piece of head) await write(piece);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      await write(value);
    }
    await Promise.all(writers.map((writer) => writer.close()));
  } catch (error) {
    await Promise.allSettled([
      ...writers.map((writer) => writer.abort(error)),
      reader.cancel(error),
    ]);
    throw error;
  }
}
