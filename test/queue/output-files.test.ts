import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type AttemptFiles,
  admitUpload,
  NO_FILES,
  type OutputFile,
  withPreview,
  withStored,
  withTold,
} from "../../src/queue/output-files.ts";

const LIMITS = { files: 4, bytes: 100 };
const NONE: ReadonlyMap<string, number> = new Map();

let made = 0;

function fileOf(name: string, size: number, sha256 = `${name}-${size}`): OutputFile {
  made += 1;
  return { folder: "f", id: `${made}`, name, content_type: "image/png", size, sha256 };
}

type Step = { do: "upload"; name: string; size: number } | { do: "tell" | "preview"; name: string };

/** What a worker does with the files of an attempt. */
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("upload" as const),
    name: fc.constantFrom("a", "b", "c", "d", "e", "f"),
    size: fc.integer({ min: 0, max: 60 }),
  }),
  fc.record({
    do: fc.constantFrom("tell" as const, "preview" as const),
    name: fc.constantFrom("a", "b", "c", "z"),
  }),
);

function run(steps: readonly Step[]) {
  let files: AttemptFiles = NO_FILES;
  const refused: string[] = [];
  for (const taken of steps) {
    if (taken.do === "upload") {
      const file = fileOf(taken.name, taken.size);
      const admission = admitUpload(files, NONE, file, LIMITS);
      if (!admission.ok) refused.push(admission.code);
      else if (!admission.stored) files = withStored(files, file);
    } else {
      const next = (taken.do === "tell" ? withTold : withPreview)(files, taken.name);
      if (next !== null) files = next.files;
    }
  }
  return { files, refused };
}

describe("the files of an attempt", () => {
  test("stay within their bounds, with names of their own, whatever the worker does (W36b, W36d)", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { stored, told, preview } = run(steps).files;
        expect(stored.length).toBeLessThanOrEqual(LIMITS.files);
        expect(stored.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(LIMITS.bytes);
        expect(new Set(stored.map(({ name }) => name)).size).toBe(stored.length);
        const ids = new Set(stored.map(({ id }) => id));
        for (const id of told) expect(ids).toContain(id);
        if (preview !== null) expect(ids).toContain(preview);
        expect(new Set(told).size).toBe(told.length);
      }),
    );
  });

  test("are never given up once they were told, and told in order (W36e)", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.array(step, { maxLength: 30 }), (a, b) => {
        const { told } = run(a).files;
        // Ids count up, so the second run begins with the same steps and other ids: names are compared.
        const namesOf = (files: AttemptFiles) =>
          files.told.map((id) => files.stored.find((file) => file.id === id)?.name);
        const before = namesOf(run(a).files);
        expect(namesOf(run([...a, ...b]).files).slice(0, told.length)).toEqual(before);
      }),
    );
  });

  test("on their way count, except for another try of the same", () => {
    const under = new Map([
      ["a", 60],
      ["b", 10],
    ]);
    const coming = (name: string, size: number) =>
      admitUpload(NO_FILES, under, { name, size, sha256: null }, LIMITS).ok;
    expect(coming("a", 90)).toBe(true);
    expect(coming("c", 30)).toBe(true);
    expect(coming("c", 31)).toBe(false);
  });

  test("of the same name and size may be the same one until its checksum is known", () => {
    const files = withStored(NO_FILES, fileOf("a", 5, "known"));
    const asked = (sha256: string | null, size = 5) =>
      admitUpload(files, NONE, { name: "a", size, sha256 }, LIMITS);
    expect(asked(null)).toEqual({ ok: true });
    expect(asked("known")).toMatchObject({ ok: true, stored: { name: "a" } });
    expect(asked("other")).toMatchObject({ ok: false, code: "name_taken" });
    expect(asked(null, 6)).toMatchObject({ ok: false, code: "name_taken" });
  });
});
