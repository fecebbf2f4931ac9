import { describe, expect, it } from "vitest";
import { migrate } from "../../src/storage/migrations.ts";
import { type Upload, UploadStore } from "../../src/storage/upload-store.ts";
import type { WithSql } from "./with-sql.ts";

const UPLOAD: Upload = {
  secret: "s1",
  folder: "spaces/demo/uploads/1",
  owner: "user ann",
  user: "ann",
  name: "a.png",
  contentType: "image/png",
  length: 100,
  received: 0,
  tail: 0,
  multipart: null,
  fence: 0,
  sha256: null,
  ulid: null,
  expiresAt: 1_000,
};

/** What `UploadStore` does on each kind of SQLite. */
export function uploadStoreContract(withSql: WithSql): void {
  const withStore = (work: (store: UploadStore) => void) =>
    withSql((sql) => {
      migrate(sql);
      work(new UploadStore(sql));
    });

  describe("the store of uploads", () => {
    it("has an upload as it was stored, and how far it has come", () =>
      withStore((store) => {
        store.add(UPLOAD);
        expect(store.get("s1")).toEqual(UPLOAD);
        const further = { ...UPLOAD, received: 9, tail: 1, multipart: "m", fence: 2, sha256: "h" };
        store.update({ ...further, ulid: "not stored by this", expiresAt: 2_000 });
        expect(store.get("s1")).toEqual({ ...further, expiresAt: 2_000 });
        expect(store.get("s2")).toBeNull();
      }));

    it("lists parts by their numbers, the latest of each, until a job has the upload", () =>
      withStore((store) => {
        store.add(UPLOAD);
        for (const [number, etag] of [
          [2, "b"],
          [1, "a"],
          [2, "c"],
        ] as const) {
          store.addPart("s1", { number, etag });
        }
        expect(store.parts("s1")).toEqual([
          { number: 1, etag: "a" },
          { number: 2, etag: "c" },
        ]);
        store.use("s1", "ULID");
        expect([store.parts("s1"), store.get("s1")?.ulid]).toEqual([[], "ULID"]);
      }));

    it("counts what somebody has that no job has, and knows what is due of it", () =>
      withStore((store) => {
        expect([store.dueAt(), store.openOf("user ann")]).toEqual([null, { count: 0, bytes: 0 }]);
        for (const [number, owner] of ["user ann", "user ann", "address 1"].entries()) {
          const own = { secret: `s${number}`, folder: `f${number}`, expiresAt: 300 - number };
          store.add({ ...UPLOAD, ...own, owner });
        }
        expect(store.openOf("user ann")).toEqual({ count: 2, bytes: 200 });
        expect(store.dueAt()).toBe(298);
        expect(store.dueBy(299, 9).map(({ secret }) => secret)).toEqual(["s2", "s1"]);
        store.use("s1", "ULID");
        store.use("s2", "ULID");
        expect(store.openOf("user ann")).toEqual({ count: 1, bytes: 100 });
        expect(store.open(9).map(({ secret }) => secret)).toEqual(["s0"]);
        expect(store.knownFolders(["f0", "f1", "f9"])).toEqual(new Set(["f0", "f1"]));
        store.removeOf("ULID");
        store.remove("s0");
        expect(store.knownFolders(["f0", "f1", "f2"])).toEqual(new Set());
      }));
  });
}
