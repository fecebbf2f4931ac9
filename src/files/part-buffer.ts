/**
 * The size of every part of a file that R2 is sent in parts, except for the last, bytes: R2 asks for equal parts of 5 MiB
 * or more, and one is in memory.
 */
export const PART_BYTES = 8_388_608;

/** Whether a file of this size is stored in parts, so that the bucket doesn't know its checksum. */
export function isInParts(size: number): boolean {
  return size > PART_BYTES;
}

const FIRST_BYTES = 65_536;

/** Gathers the bytes of one part. It grows with what it holds, so that a small file takes little memory. */
export class PartBuffer {
  private bytes = new Uint8Array(FIRST_BYTES);
  private filled = 0;

  get length(): number {
    return this.filled;
  }

  get isFull(): boolean {
    return this.filled === PART_BYTES;
  }

  /** Takes as many bytes as fit, and returns the others. */
  fill(piece: Uint8Array): Uint8Array {
    const taken = piece.subarray(0, PART_BYTES - this.filled);
    this.grow(this.filled + taken.byteLength);
    this.bytes.set(taken, this.filled);
    this.filled += taken.byteLength;
    return piece.subarray(taken.byteLength);
  }

  /** What it holds; not a copy, so it is good until `clear`. */
  get content(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.filled);
  }

  /** Empties it. The memory is kept for the next part. */
  clear(): void {
    this.filled = 0;
  }

  private grow(length: number): void {
    if (length <= this.bytes.byteLength) return;
    const grown = new Uint8Array(Math.min(PART_BYTES, Math.max(length, 2 * this.bytes.byteLength)));
    grown.set(this.content);
    this.bytes = grown;
  }
}
