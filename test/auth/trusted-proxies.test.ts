import { describe, expect, it } from "vitest";
import { TrustedProxies } from "../../src/auth/trusted-proxies.ts";

describe("trusted proxies", () => {
  it("are addresses and ranges of both kinds", () => {
    const proxies = TrustedProxies.parse("127.0.0.1, 10.0.0.0/8,2001:db8::/32 , ::1");
    for (const address of ["127.0.0.1", "10.9.8.7", "2001:db8:1::2", "::1", "::ffff:10.1.2.3"]) {
      expect(proxies?.includes(address), address).toBe(true);
    }
    for (const address of ["127.0.0.2", "11.0.0.1", "2001:db9::1", "::2", "", "unknown", "10"]) {
      expect(proxies?.includes(address), address).toBe(false);
    }
  });

  it.each([
    "",
    "10/8",
    "1/8",
    "0x7f.1/8",
    "/8",
    "true",
    "nginx",
    "10.0.0.0/33",
    "10.0.0",
    "1",
    "127.0.0.1;10.0.0.1",
    "127.0.0.1,",
  ])("can't be read from %j", (text) => {
    expect(TrustedProxies.parse(text)).toBeNull();
  });
});
