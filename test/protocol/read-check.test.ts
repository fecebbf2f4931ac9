import fc from "fast-check";
import { expect, it } from "vitest";
import { readCheckText, readCheckToken } from "../../src/protocol/read-check.ts";
import { roughLength } from "../../src/protocol/rough-length.ts";

it("a check is recognised when it comes back, however its JSON is written (C18)", () => {
  expect(readCheckToken(readCheckText("ab12"))).toBe("ab12");
  expect(readCheckToken('{ "token" : "ab12" , "type" : "read_check" }')).toBe("ab12");
});

it("anything else is no check", () => {
  for (const text of [
    "ping",
    "",
    '"read_check"',
    '{"type":"read_check"}',
    '{"type":"read_check"',
  ]) {
    expect(readCheckToken(text)).toBeNull();
  }
  expect(readCheckToken(`${readCheckText("a")}${" ".repeat(200)}`)).toBeNull();
  expect(readCheckToken(new ArrayBuffer(8))).toBeNull();
  fc.assert(fc.property(fc.string(), (text) => readCheckToken(text) === null));
});

it("the rough length of a value is near that of its JSON", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const length = JSON.stringify(value).length;
      const rough = roughLength(JSON.parse(JSON.stringify(value)));
      // Control characters are escaped with six.
      expect(rough * 6 + 30).toBeGreaterThanOrEqual(length);
      expect(rough).toBeLessThanOrEqual(length * 8 + 8);
    }),
  );
});
