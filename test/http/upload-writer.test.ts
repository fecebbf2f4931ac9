import { createHash } from "node:crypto";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { PART_BYTES } from "../../src/files/part-buffer.ts";
import { ProblemError } from "../../src/http/problems.ts";
import { writeUpload } from "../../src/http/upload-writer.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/resources.ts";
import type { SpaceCore } from "../../src/space/space-core.ts";
import { SpaceUploads } from "../../src/space/uploads/space-uploads.ts";
import type { UploadCommand } from "../../src/space/uploads/upload-calls.ts";
import { migrate } from "../../src/storage/migrations.ts";
import { UploadStore } from "../../src/storage/upload-store.ts";
import { nodeSql } from "../storage/node-sql.ts";
import { ANYBODY } from "../support/callers.ts";
import { MemoryBucket, sha256Of, someBytes } from "../support/memory-bucket.ts";

const BYTES = someBytes(2 * PART_BYTES + 12_345);
const SPEC = { name: "a.bin", contentType: "image/png", field: null };

/** The runtime's own stream that hashes what is written to it. */
class FakeDigestStream extends WritableStream<Uint8Array> {
  readonly digest: Promise<ArrayBuffer>;

  constructor() {
    const hash = createHash("sha256");
    const { promise, resolve } = Promise.withResolvers<ArrayBuffer>();
    super({
      write: (piece) => void hash.update(piece),
      close: () => resolve(new Uint8Array(hash.digest()).buffer),
    });
    this.digest = promise;
  }
}

beforeAll(() => {
  Object.assign(crypto, { DigestStream: FakeDigestStream });
});

/** An upload of a space, with its rows and its bucket, written to by requests. */
class Place {
  readonly bucket = new MemoryBucket();
  readonly uploads: SpaceUploads;
  readonly store: UploadStore;
  readonly secret: string;
  now = 1_000_000;

  constructor(length: number) {
    const sql = nodeSql();
    migrate(sql);
    this.store = new UploadStore(sql);
    const record = { name: "demo", settings: DEFAULT_SETTINGS };
    this.uploads = new SpaceUploads({ record, uploads: this.store } as unknown as SpaceCore);
    const made = this.uploads.create(ANYBODY, { ...SPEC, length }, this.now);
    if (!made.ok) throw new Error(made.detail);
    this.secret = made.upload.secret;
  }

  get upload() {
    const found = this.store.get(this.secret);
    if (!found) throw new Error("it is gone");
    return found;
  }

  /** The whole file in the bucket, and what else is there. */
  get stored() {
    const key = `${this.upload.folder}/0`;
    return {
      file: this.bucket.bytesOf(key),
      others: this.bucket.keys.filter((one) => one !== key),
    };
  }

  run(command: UploadCommand) {
    const reply = this.uploads.run(this.secret, command, this.now);
    if (!reply.ok) throw new ProblemError(reply.code, reply.detail);
    return reply;
  }

  /** One request with these bytes from `offset` on; `isCut`: its client leaves after them. */
  async send(
    offset: number,
    bytes: Uint8Array,
    { isCut = false, checksum = "", piece = 65_536 } = {},
  ) {
    const { upload: begun } = this.run({ type: "begin", offset });
    async function* body() {
      for (let at = 0; at < bytes.length; at += piece) yield bytes.slice(at, at + piece);
      if (isCut) throw new Error("the client left");
    }
    try {
      return await writeUpload({
        bucket: this.bucket as unknown as R2Bucket,
        begun,
        body: body(),
        checksum: checksum ? { algorithm: "sha1", digest: Buffer.from(checksum, "hex") } : null,
        call: async (command) => this.run(command),
        stop: () => undefined,
      });
    } finally {
      if (this.upload.sha256 === null) this.run({ type: "end", fence: begun.fence });
    }
  }
}

describe("an upload in pieces", () => {
  it("becomes the file, wherever its requests begin, end and break off (H30)", async () => {
    const lengths = fc.constantFrom(0, 1, 70_000, PART_BYTES, PART_BYTES + 1, BYTES.length);
    const cut = fc.record({
      bytes: fc.oneof(fc.nat(100_000), fc.nat(2 * PART_BYTES), fc.constant(PART_BYTES)),
      isCut: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(lengths, fc.array(cut, { maxLength: 8 }), async (length, cuts) => {
        const bytes = BYTES.subarray(0, length);
        const place = new Place(length);
        for (const { bytes: count, isCut } of [...cuts, { bytes: length, isCut: false }]) {
          const { received, sha256 } = place.upload;
          if (sha256 !== null) break;
          const piece = bytes.subarray(received, received + count);
          await place.send(received, piece, { isCut }).catch(() => undefined);
          expect(place.upload.received).toBe(received + piece.length);
        }
        expect(place.upload.sha256).toBe(sha256Of(bytes));
        expect(Buffer.compare(place.stored.file ?? Buffer.from("none"), bytes)).toBe(0);
        expect([place.stored.others, place.bucket.uploads.size]).toEqual([[], 0]);
      }),
      { numRuns: 15 },
    );
  });

  it("goes on after the bucket has refused anything, and loses nothing that counted (H30d)", async () => {
    for (const call of ["put", "createMultipartUpload", "uploadPart", "complete"]) {
      const place = new Place(BYTES.length);
      await place.send(0, BYTES.subarray(0, 1_000));
      for (let tries = 0; place.upload.sha256 === null; tries += 1) {
        expect(tries).toBeLessThan(5);
        place.bucket.failNext = tries === 0 ? call : null;
        const { received } = place.upload;
        await place.send(received, BYTES.subarray(received)).catch(() => undefined);
        expect(place.upload.received).toBeGreaterThanOrEqual(received);
      }
      expect(place.upload.sha256, call).toBe(sha256Of(BYTES));
    }
  });

  it("that was complete when its request was cut off is found complete (H30d)", async () => {
    const place = new Place(BYTES.length);
    const finish = place.uploads.run.bind(place.uploads);
    place.uploads.run = (secret, command, now) => {
      if (command.type === "finish") throw new Error("the Worker was killed");
      return finish(secret, command, now);
    };
    await expect(place.send(0, BYTES)).rejects.toThrow("killed");
    place.uploads.run = finish;
    const { received } = place.upload;
    expect(received).toBe(2 * PART_BYTES);
    await place.send(received, BYTES.subarray(received));
    expect(place.upload.sha256).toBe(sha256Of(BYTES));
  });

  it("takes no byte of a request whose checksum is wrong, and all of one whose is right (H30e)", async () => {
    const place = new Place(BYTES.length);
    const sha1 = createHash("sha1").update(BYTES).digest("hex");
    await expect(place.send(0, BYTES, { checksum: "00" })).rejects.toMatchObject({
      code: "upload_checksum_mismatch",
    });
    await expect(place.send(0, BYTES, { checksum: sha1, isCut: true })).rejects.toThrow("left");
    expect(place.upload.received).toBe(0);
    await place.send(0, BYTES, { checksum: sha1 });
    expect(place.upload.sha256).toBe(sha256Of(BYTES));
  });

  it("is written by one request at a time: a silent one gives way, a busy one doesn't (H30c)", () => {
    const place = new Place(100);
    const { upload: first } = place.run({ type: "begin", offset: 0 });
    expect(() => place.run({ type: "begin", offset: 0 })).toThrow(/Another request/);
    place.now += 3_000;
    place.run({ type: "renew", fence: first.fence, hasReceived: true });
    place.now += 3_000;
    expect(() => place.run({ type: "begin", offset: 0 })).toThrow(/Another request/);
    place.run({ type: "renew", fence: first.fence, hasReceived: false });
    place.now += 1_500;
    place.run({ type: "begin", offset: 0 });
    const late = {
      type: "store",
      fence: first.fence,
      received: 9,
      tail: 9,
      multipart: null,
    } as const;
    expect(() => place.run(late)).toThrow(/Another request/);
    expect(place.upload.received).toBe(0);
  });

  it("begins only where it is (H30c)", () => {
    const place = new Place(100);
    for (const offset of [1, 100]) {
      expect(() => place.run({ type: "begin", offset })).toThrow("must be 0");
    }
  });
});
