import { createHash } from "node:crypto";
import { PartBuffer } from "./part-buffer.ts";

/** What the bytes of a stored file are. */
export interface WrittenFile {
  /** Bytes. */
  size: number;
  /** Hexadecimal digits. */
  sha256: string;
}

interface UploadedPart {
  partNumber: number;
  etag: string;
}

interface PartsUpload {
  uploadPart(partNumber: number, bytes: Uint8Array): Promise<UploadedPart>;
  complete(parts: UploadedPart[]): Promise<unknown>;
  abort(): Promise<void>;
}

/** What a writer needs of the bucket. */
export interface WrittenBucket {
  put(key: string, bytes: Uint8Array, options: { sha256: string }): Promise<unknown>;
  createMultipartUpload(key: string): Promise<PartsUpload>;
}

/**
 * Writes a file of unknown length into the bucket while it arrives, with at most one part of it in memory (decision 0064).
 * A file that fits into one part is one object put at its end, with its checksum; a larger one is an upload in parts.
 */
export class FileWriter {
  private readonly bucket: WrittenBucket;
  private readonly key: string;
  private readonly part = new PartBuffer();
  private readonly hash = createHash("sha256");
  /** How many bytes it has so far. */
  size = 0;
  private upload: PartsUpload | null = null;
  private readonly parts: UploadedPart[] = [];

  constructor(bucket: WrittenBucket, key: string) {
    this.bucket = bucket;
    this.key = key;
  }

  async write(piece: Uint8Array): Promise<void> {
    this.hash.update(piece);
    this.size += piece.byteLength;
    for (let rest = piece; rest.byteLength > 0; ) {
      // Only when more comes is it known that this part is not the last.
      if (this.part.isFull) await this.sendPart();
      rest = this.part.fill(rest);
    }
  }

  /** Stores the file; it is in the bucket once the promise resolves. */
  async end(): Promise<WrittenFile> {
    const sha256 = this.hash.digest("hex");
    if (this.upload === null) await this.bucket.put(this.key, this.part.content, { sha256 });
    else {
      await this.sendPart();
      await this.upload.complete(this.parts);
      this.upload = null;
    }
    return { size: this.size, sha256 };
  }

  /** Throws away what was sent in parts. Call it if the file is not wanted any more. */
  async abort(): Promise<void> {
    await this.upload?.abort();
    this.upload = null;
  }

  private async sendPart(): Promise<void> {
    this.upload ??= await this.bucket.createMultipartUpload(this.key);
    const number = this.parts.length + 1;
    this.parts.push(await this.upload.uploadPart(number, this.part.content));
    this.part.clear();
  }
}
