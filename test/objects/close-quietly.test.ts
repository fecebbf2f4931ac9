import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { closeQuietly } from "../../src/objects/close-quietly.ts";

/** Closes one end of a pair, and returns what the other end gets. */
async function close(code: number, reason: string): Promise<{ code: number; reason: string }> {
  const { 0: client, 1: server } = new WebSocketPair();
  client.accept();
  server.accept();
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    client.addEventListener("close", ({ code, reason }) => resolve({ code, reason }));
  });
  closeQuietly(server, code, reason);
  return closed;
}

describe("a close", () => {
  it("has a reason of 123 bytes at most, cut between two characters (C15)", async () => {
    const text = fc.string({ unit: "grapheme", minLength: 0, maxLength: 200 });
    const check = fc.asyncProperty(text, async (reason) => {
      const got = await close(4400, reason);
      const whole = new TextDecoder().decode(new TextEncoder().encode(reason));
      if (new TextEncoder().encode(whole).length <= 123) expect(got.reason).toBe(whole);
      else {
        expect(new TextEncoder().encode(got.reason).length).toBeLessThanOrEqual(123);
        expect(got.reason.endsWith("…")).toBe(true);
        expect(whole.startsWith(got.reason.slice(0, -1))).toBe(true);
      }
    });
    await fc.assert(check, { numRuns: 200 });
  });

  it.each([1000, 1001, 1008, 1011, 3000, 4404, 4999])("keeps the code %i (C15)", async (code) => {
    expect(await close(code, "why")).toEqual({ code, reason: "why" });
  });

  it.each([0, 999, 1004, 1005, 1006, 1015, 5000, 65_535])(
    "is sent without a code and a reason if its code can't be: %i (C15)",
    async (code) => {
      expect(await close(code, "why")).toEqual({ code: 1005, reason: "" });
    },
  );
});
