import fc from "fast-check";
import { expect, test } from "vitest";
import { partOf } from "../../src/http/byte-range.ts";

test.each([
  ["bytes=0-", { offset: 0, length: 10 }],
  ["bytes=4-", { offset: 4, length: 6 }],
  ["bytes=4-4", { offset: 4, length: 1 }],
  ["bytes=4-99", { offset: 4, length: 6 }],
  ["bytes=-3", { offset: 7, length: 3 }],
  ["bytes=-30", { offset: 0, length: 10 }],
  ["Bytes = 2 - 3", { offset: 2, length: 2 }],
  ["bytes=10-", "unsatisfiable"],
  ["bytes=-0", "unsatisfiable"],
  ["bytes=5-4", null],
  ["bytes=-", null],
  ["bytes=1-2, 4-5", null],
  ["items=1-2", null],
  ["bytes=1-2x", null],
  ["", null],
  [undefined, null],
])("of a file with 10 bytes %j is %j (W14e)", (range, part) => {
  expect(partOf(range, 10)).toEqual(part);
});

test("an empty file has no part", () => {
  expect(partOf("bytes=0-", 0)).toBe("unsatisfiable");
  expect(partOf("bytes=-1", 0)).toBe("unsatisfiable");
});

test("whatever is asked for, a part is never empty and lies in the file (W14e)", () => {
  const bound = fc.option(fc.nat(), { nil: "" });
  fc.assert(
    fc.property(bound, bound, fc.nat(), (first, last, size) => {
      const part = partOf(`bytes=${first}-${last}`, size);
      if (part === null || part === "unsatisfiable") return;
      expect(part.length).toBeGreaterThan(0);
      expect(part.offset + part.length).toBeLessThanOrEqual(size);
    }),
  );
});
