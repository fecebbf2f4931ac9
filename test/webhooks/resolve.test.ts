import { describe, expect, it } from "vitest";
import { leadsInside } from "../../src/webhooks/resolve.ts";

describe("a name in the address of a webhook", () => {
  it.each([
    { addresses: ["93.184.215.14"], inside: false },
    { addresses: ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"], inside: false },
    { addresses: ["10.0.0.1"], inside: true },
    { addresses: ["93.184.215.14", "127.0.0.1"], inside: true },
    { addresses: ["93.184.215.14", "::1"], inside: true },
    { addresses: ["::ffff:169.254.169.254"], inside: true },
  ])("leads inside if any of its addresses is private: $addresses (H14f)", async (given) => {
    const lookUp = () => Promise.resolve(given.addresses);
    expect(await leadsInside("https://hooks.example.com/a", lookUp)).toBe(given.inside);
  });

  it("is not held up by a lookup that fails", async () => {
    const failing = () => Promise.reject(new Error("no network"));
    expect(await leadsInside("https://hooks.example.com/a", failing)).toBe(false);
  });

  it("is not looked up if it is an address already", async () => {
    const never = () => Promise.reject(new Error("must not be called"));
    expect(await leadsInside("https://[2606:4700::1111]/", never)).toBe(false);
  });
});
