import { createHash } from "node:crypto";

/** Least size of a part but the last, bytes, as in R2. */
const LEAST_PART = 5_242_880;

interface Stored {
  bytes: Uint8Array;
  sha256: ArrayBuffer | undefined;
}

/** A bucket in memory that keeps R2's rules about uploads in parts. `failNext` has a call of this name fail once. */
export class MemoryBucket {
  readonly objects = new Map<string, Stored>();
  /** The parts of uploads that are neither complete nor aborted, by their ids. */
  readonly uploads = new Map<string, Map<number, { etag: string; bytes: Uint8Array }>>();
  failNext: string | null = null;
  private made = 0;

  get keys(): string[] {
    return [...this.objects.keys()].sort();
  }

  bytesOf(key: string): Uint8Array | null {
    return this.objects.get(key)?.bytes ?? null;
  }

  async put(key: string, value: Uint8Array, options: { sha256?: string } = {}) {
    this.mayFail("put");
    const bytes = new Uint8Array(value);
    const hash = createHash("sha256").update(bytes).digest();
    const given = options.sha256;
    if (given !== undefined && given !== hash.toString("hex")) throw new Error("wrong checksum");
    const sha256 = given === undefined ? undefined : new Uint8Array(hash).buffer;
    this.objects.set(key, { bytes, sha256 });
  }

  async head(key: string) {
    const found = this.objects.get(key);
    return found ? { key, size: found.bytes.byteLength } : null;
  }

  async get(key: string) {
    const found = this.objects.get(key);
    if (!found) return null;
    const { bytes } = found;
    return {
      key,
      size: bytes.byteLength,
      body: new Blob([new Uint8Array(bytes)]).stream(),
      arrayBuffer: async () => new Uint8Array(bytes).buffer,
    };
  }

  async delete(keys: string | string[]) {
    this.mayFail("delete");
    for (const key of [keys].flat()) this.objects.delete(key);
  }

  async list({ prefix }: { prefix: string }) {
    const keys = this.keys.filter((key) => key.startsWith(prefix));
    return { objects: keys.map((key) => ({ key })), truncated: false };
  }

  async createMultipartUpload(key: string) {
    this.mayFail("createMultipartUpload");
    this.made += 1;
    const uploadId = `upload-${this.made}`;
    this.uploads.set(uploadId, new Map());
    return this.resumeMultipartUpload(key, uploadId);
  }

  resumeMultipartUpload(key: string, uploadId: string) {
    const parts = () => {
      const found = this.uploads.get(uploadId);
      if (!found) throw new Error("the upload does not exist");
      return found;
    };
    return {
      key,
      uploadId,
      uploadPart: async (partNumber: number, value: Uint8Array) => {
        this.mayFail("uploadPart");
        this.made += 1;
        const etag = `etag-${this.made}`;
        parts().set(partNumber, { etag, bytes: new Uint8Array(value) });
        return { partNumber, etag };
      },
      abort: async () => {
        parts();
        this.uploads.delete(uploadId);
      },
      complete: async (named: { partNumber: number; etag: string }[]) => {
        this.mayFail("complete");
        const pieces = named.map(({ partNumber, etag }) => {
          const part = parts().get(partNumber);
          if (part?.etag !== etag) throw new Error("a part is missing");
          return part.bytes;
        });
        const sizes = new Set(pieces.slice(0, -1).map(({ byteLength }) => byteLength));
        const [size = LEAST_PART] = sizes;
        const isLastLarger = (pieces.at(-1)?.byteLength ?? 0) > size && pieces.length > 1;
        if (sizes.size > 1 || size < LEAST_PART || isLastLarger) throw new Error("parts differ");
        this.objects.set(key, { bytes: new Uint8Array(Buffer.concat(pieces)), sha256: undefined });
        this.uploads.delete(uploadId);
      },
    };
  }

  private mayFail(name: string): void {
    if (this.failNext !== name) return;
    this.failNext = null;
    throw new Error(`the bucket refuses ${name}`);
  }
}

/** Bytes of which no two parts are alike. */
export function someBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0, value = 1; at < length; at += 1) {
    value = (value * 1_103_515_245 + 12_345) & 0x7fffffff;
    bytes[at] = value >> 16;
  }
  return bytes;
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
