import { describe, expect, it } from "vitest";
import { bearerOf, isOperatorKey } from "../../src/auth/operator.ts";

describe("the header `Authorization`", () => {
  it("has a secret if its scheme is Bearer, however that is written", () => {
    for (const header of ["Bearer abc", "bearer abc", "BEARER   abc"]) {
      expect(bearerOf(header), header).toBe("abc");
    }
  });

  it("has none in any other form", () => {
    const others = [
      undefined,
      "",
      "abc",
      "Bearer",
      "Bearer ",
      "Basic abc",
      "Bearer a b",
      "xBearer a",
    ];
    for (const header of others) expect(bearerOf(header), header).toBeNull();
  });
});

describe("the operator's key", () => {
  it("is that text and no other, whatever its length", () => {
    const keys = { OPERATOR_KEY: "the-key" };
    expect(isOperatorKey("the-key", keys)).toBe(true);
    for (const given of [null, "", "the-ke", "the-key ", "The-key", "x".repeat(5_000)]) {
      expect(isOperatorKey(given, keys), String(given)).toBe(false);
    }
  });

  it("may also be the former one while that is set", () => {
    const keys = { OPERATOR_KEY: "the-new-key", OPERATOR_KEY_FORMER: "the-key" };
    for (const given of ["the-key", "the-new-key"]) expect(isOperatorKey(given, keys)).toBe(true);
    for (const given of ["", "the-new", "the-keythe-new-key"]) {
      expect(isOperatorKey(given, keys), given).toBe(false);
    }
  });
});
