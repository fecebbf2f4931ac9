import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileWriter } from "../../src/files/file-writer.ts";
import { PART_BYTES } from "../../src/files/part-buffer.ts";
import { MemoryBucket, sha256Of, someBytes } from "../support/memory-bucket.ts";

const BYTES = someBytes(2 * PART_BYTES + 70_000);

function writerOf(bucket: MemoryBucket): FileWriter {
  return new FileWriter(bucket, "key");
}

async function write(writer: FileWriter, bytes: Uint8Array, pieces: readonly number[]) {
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const length = pieces[turn % pieces.length] ?? bytes.length;
    await writer.write(bytes.subarray(at, at + length));
    at += length;
  }
  return writer.end();
}

describe("a file that is written while it comes", () => {
  it("has every byte, its size and its checksum, whatever its length and pieces are (H29)", async () => {
    const edges = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, BYTES.length];
    const pieces = fc.array(fc.constantFrom(65_536, 1_000_000, 3_333_333, 20_000_000), {
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...edges), pieces, async (length, cuts) => {
        const bucket = new MemoryBucket();
        const bytes = BYTES.subarray(0, length);
        const written = await write(writerOf(bucket), bytes, cuts);
        expect(written).toEqual({ size: length, sha256: sha256Of(bytes) });
        expect(Buffer.compare(bucket.bytesOf("key") ?? Buffer.from("none"), bytes)).toBe(0);
        expect(bucket.uploads.size).toBe(0);
      }),
      { numRuns: 12 },
    );
  });

  it("is one object with a checksum that the bucket knows, unless it has more than one part (H29)", async () => {
    const bucket = new MemoryBucket();
    await write(writerOf(bucket), BYTES.subarray(0, PART_BYTES), [65_536]);
    expect(bucket.objects.get("key")?.sha256).toBeDefined();
    await write(writerOf(bucket), BYTES, [65_536]);
    expect(bucket.objects.get("key")?.sha256).toBeUndefined();
  });

  it("leaves nothing if it is given up (H29)", async () => {
    const bucket = new MemoryBucket();
    const writer = writerOf(bucket);
    await writer.write(BYTES);
    expect(bucket.uploads.size).toBe(1);
    await writer.abort();
    await writer.abort();
    expect([bucket.uploads.size, bucket.keys]).toEqual([0, []]);
  });
});
