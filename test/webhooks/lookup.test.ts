import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { leadsInside } from "../../src/webhooks/resolve.ts";
import { isPublicAddress, refusalOf } from "../../src/webhooks/target.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("the lookup of a webhook's name", () => {
  it("that takes longer than two seconds tells nothing: the message is sent (H14f)", async () => {
    let outcome: boolean | null = null;
    const never = () => new Promise<string[]>(() => undefined);
    const asked = leadsInside("https://slow.example/", never).then((inside) => {
      outcome = inside;
    });
    await vi.advanceTimersByTimeAsync(1_999);
    expect(outcome).toBe(null);
    await vi.advanceTimersByTimeAsync(1);
    await asked;
    expect(outcome).toBe(false);
  });

  it("finds a private address among public ones, and asks for the name alone (H14f)", async () => {
    const lookUp = vi.fn(async () => ["8.8.8.8", "10.0.0.1"]);
    expect(await leadsInside("https://user@mixed.example:444/path?q", lookUp)).toBe(true);
    expect(lookUp).toHaveBeenCalledExactlyOnceWith("mixed.example");
    expect(await leadsInside("https://a.example/", async () => ["8.8.8.8", "2a00::1"])).toBe(false);
    expect(await leadsInside("https://a.example/", async () => [])).toBe(false);
  });
});

describe("an address that is a number already", () => {
  it.each(["https://8.8.8.8/", "https://[2a00:1450:4001::1]/", "https://[2a00::1]:444/"])(
    "is not looked up: %s",
    async (address) => {
      const lookUp = vi.fn(async () => ["10.0.0.1"]);
      expect(await leadsInside(address, lookUp)).toBe(false);
      expect(lookUp).not.toHaveBeenCalled();
    },
  );
});

describe("an address that hides a private one", () => {
  it.each([
    "::127.0.0.1",
    "::10.0.0.1",
    "::192.168.1.1",
    "::ffff:192.168.1.1",
    "::ffff:a00:1",
    "64:ff9b::10.0.0.1",
    "2002:a00:1::",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
  ])("is not public: %s (H14f)", (address) => {
    expect(isPublicAddress(address)).toBe(false);
    expect(refusalOf(`https://[${address}]/`, false)).toBe("must be a public address");
  });

  it("is told from public ones", () => {
    for (const address of ["8.8.8.8", "2a00:1450:4001::1", "::ffff:8.8.8.8"]) {
      expect(isPublicAddress(address)).toBe(true);
    }
  });
});
