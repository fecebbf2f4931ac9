import { createHash, type Hash } from "node:crypto";
import { tailIn, wholeFileIn } from "../files/file-keys.ts";
import { PART_BYTES, PartBuffer } from "../files/part-buffer.ts";
import type { UploadCommand, UploadProgress } from "../space/uploads/upload-calls.ts";
import type { Upload, UploadPart } from "../storage/upload-store.ts";
import { ProblemError } from "./problems.ts";
import type { ExpectedChecksum } from "./tus.ts";

/** What one request writes to an upload, and with what. */
export interface UploadWrite {
  bucket: R2Bucket;
  /** The upload as it was when the request began to write it. */
  begun: Upload;
  body: AsyncIterable<Uint8Array>;
  /** What the request's bytes must be; until that is checked none of them counts. */
  checksum: ExpectedChecksum | null;
  /** @throws {ProblemError} if somebody else writes the upload now, or it is gone */
  call: (command: UploadCommand) => Promise<{ upload: Upload; parts: UploadPart[] }>;
  /** Ends the body early. */
  stop: () => void;
}

/** How often a writer shows that it is there, milliseconds. */
const RENEW_MS = 1_500;

/**
 * Writes the bytes of a request to an upload (decision 0064). If they end early, what came is kept, so that the next
 * request goes on there.
 *
 * @returns the upload as it is then
 * @throws what the body threw, or {ProblemError} if the bytes are refused
 */
export async function writeUpload(write: UploadWrite): Promise<Upload> {
  const writer = new UploadWriter(write);
  const timer = setInterval(() => void writer.renew(), RENEW_MS);
  try {
    return await writer.run();
  } finally {
    clearInterval(timer);
  }
}

class UploadWriter {
  private readonly write: UploadWrite;
  private readonly key: string;
  private readonly part = new PartBuffer();
  /** Of the whole file, if all of it comes with this request. */
  private readonly whole: Hash | null;
  private readonly sent: Hash | null;
  private received: number;
  private multipart: string | null;
  /** What is in the bucket and does not count yet. */
  private unstored: { part: UploadPart; progress: UploadProgress }[] = [];
  private last: Upload;
  private hasReceived = false;
  private isStoring = false;

  constructor(write: UploadWrite) {
    const { begun, checksum } = write;
    this.write = write;
    this.key = wholeFileIn(begun.folder);
    this.whole = begun.received === 0 ? createHash("sha256") : null;
    this.sent = checksum && createHash(checksum.algorithm);
    this.received = begun.received;
    this.multipart = begun.multipart;
    this.last = begun;
  }

  async run(): Promise<Upload> {
    await this.loadTail();
    const cut = await this.readBody();
    const { checksum } = this.write;
    if (cut !== null && checksum !== null) throw cut;
    if (checksum !== null && !this.sent?.digest().equals(checksum.digest)) {
      throw new ProblemError(
        "upload_checksum_mismatch",
        "The bytes are not those of `Upload-Checksum`: none of them counts. Send them again.",
      );
    }
    this.isStoring = true;
    await this.requireFence();
    await this.storeParts();
    if (this.received === this.write.begun.length) await this.finish();
    else await this.keepTail();
    if (cut !== null) throw cut;
    return this.last;
  }

  /** Shows that this request still writes. If somebody else does by now, it stops. */
  async renew(): Promise<void> {
    const hasReceived = this.hasReceived || this.isStoring;
    this.hasReceived = false;
    try {
      await this.call({ type: "renew", fence: this.write.begun.fence, hasReceived });
    } catch (error) {
      // An upload that is whole has no writer any more.
      if (error instanceof ProblemError && !this.isStoring) this.write.stop();
    }
  }

  /** Returns why the body ended early; `null` if it did not. */
  private async readBody(): Promise<unknown> {
    try {
      for await (const piece of this.write.body) await this.take(piece);
      return null;
    } catch (error) {
      // What this writer itself could not do leaves nothing to keep.
      if (this.isStoring) throw error;
      return error;
    }
  }

  private async take(piece: Uint8Array): Promise<void> {
    this.hasReceived = true;
    this.whole?.update(piece);
    this.sent?.update(piece);
    for (let rest = piece; rest.byteLength > 0; ) {
      const before = rest.byteLength;
      rest = this.part.fill(rest);
      this.received += before - rest.byteLength;
      // The last part is sent with the end of the file.
      if (this.part.isFull && this.received < this.write.begun.length) await this.sendPart();
    }
  }

  private async sendPart(): Promise<void> {
    this.isStoring = true;
    await this.requireFence();
    const part = await this.putPart();
    const progress = { received: this.received, tail: 0, multipart: this.multipart };
    this.unstored.push({ part, progress });
    this.part.clear();
    if (this.write.checksum === null) await this.storeParts();
    this.isStoring = false;
  }

  /** Call this before the bucket is written: another request may have taken over from one that was silent. */
  private async requireFence(): Promise<void> {
    await this.call({ type: "renew", fence: this.write.begun.fence, hasReceived: true });
  }

  private async putPart(): Promise<UploadPart> {
    const { bucket } = this.write;
    const upload =
      this.multipart === null
        ? await bucket.createMultipartUpload(this.key)
        : bucket.resumeMultipartUpload(this.key, this.multipart);
    this.multipart = upload.uploadId;
    const number = Math.ceil(this.received / PART_BYTES);
    const { partNumber, etag } = await upload.uploadPart(number, this.part.content);
    return { number: partNumber, etag };
  }

  private async storeParts(): Promise<void> {
    const { fence } = this.write.begun;
    for (const { part, progress } of this.unstored) {
      this.last = await this.call({ type: "store", fence, part, ...progress });
    }
    this.unstored = [];
  }

  private async finish(): Promise<void> {
    const { begun } = this.write;
    const sha256 = this.multipart === null ? await this.putWhole() : await this.completeParts();
    this.last = await this.call({ type: "finish", fence: begun.fence, sha256 });
    await this.dropTail();
  }

  private async putWhole(): Promise<string> {
    const { content } = this.part;
    const sha256 = createHash("sha256").update(content).digest("hex");
    await this.write.bucket.put(this.key, content, { sha256 });
    return sha256;
  }

  private async completeParts(): Promise<string> {
    const { begun, bucket, call } = this.write;
    try {
      const last = await this.putPart();
      const { parts } = await call({ type: "parts", fence: begun.fence });
      const all = [...parts, last].map(({ number: partNumber, etag }) => ({ partNumber, etag }));
      await bucket.resumeMultipartUpload(this.key, this.multipart ?? "").complete(all);
    } catch (error) {
      // A request that was cut off after this may have completed it.
      if (error instanceof ProblemError) throw error;
      if ((await bucket.head(this.key))?.size !== begun.length) throw error;
    }
    return this.whole?.digest("hex") ?? sha256Of(bucket, this.key);
  }

  /** Keeps what fills no part. An older tail stays until the newer one counts. */
  private async keepTail(): Promise<void> {
    const { begun, bucket } = this.write;
    const { received, multipart, part } = this;
    if (received === this.last.received) return;
    if (part.length > 0) await bucket.put(tailIn(begun.folder, received), part.content);
    const progress = { received, tail: part.length, multipart };
    this.last = await this.call({ type: "store", fence: begun.fence, ...progress });
    await this.dropTail();
  }

  private async loadTail(): Promise<void> {
    const { begun, bucket } = this.write;
    if (begun.tail === 0) return;
    const tail = await bucket.get(tailIn(begun.folder, begun.received));
    if (tail?.size !== begun.tail) throw new Error("the tail of an upload is missing");
    this.part.fill(new Uint8Array(await tail.arrayBuffer()));
  }

  private async dropTail(): Promise<void> {
    const { begun, bucket } = this.write;
    if (begun.tail === 0) return;
    await bucket.delete(tailIn(begun.folder, begun.received)).catch((error) => {
      // It goes with the upload.
      console.error("the old tail of an upload could not be removed", error);
    });
  }

  private async call(command: UploadCommand): Promise<Upload> {
    return (await this.write.call(command)).upload;
  }
}

/** Reads a file once more for its checksum: a hash can't be carried from one request to the next. */
async function sha256Of(bucket: R2Bucket, key: string): Promise<string> {
  const file = await bucket.get(key);
  if (file === null) throw new Error("a whole upload is missing");
  const digest = new crypto.DigestStream("SHA-256");
  await file.body.pipeTo(digest);
  return Buffer.from(await digest.digest).toString("hex");
}
