import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TrustedProxies } from "../../src/auth/trusted-proxies.ts";
import { readForwarded } from "../../src/http/forwarded.ts";

const PROXY = "127.0.0.1";
const trusted = TrustedProxies.parse("127.0.0.1, 10.0.0.0/8") as TrustedProxies;

function read(headers: Record<string, string>, peer = PROXY) {
  return readForwarded(new Headers(headers), peer, trusted);
}

/** Whatever a stranger may send. */
const strangersHeaders = fc.record(
  {
    "x-forwarded-for": fc.constantFrom("1.1.1.1", "10.0.0.1, 127.0.0.1", "unknown", ",", "::1"),
    "x-forwarded-proto": fc.constantFrom("https", "http", "ftp", "https, http"),
    "x-forwarded-host": fc.constantFrom("evil.example", "a, b", "evil.example/x"),
    forwarded: fc.constantFrom("for=1.1.1.1;host=evil.example;proto=https", "for=", '"'),
  },
  { requiredKeys: [] },
);

describe("forwarded headers", () => {
  it("of whoever is not a trusted proxy change nothing", () => {
    fc.assert(
      fc.property(strangersHeaders, (headers) => {
        const own = { address: "192.0.2.9", protocol: null, host: null };
        expect(read(headers, "192.0.2.9")).toEqual(own);
      }),
    );
  });

  it("that a stranger sends through a proxy don't change the stranger's address", () => {
    fc.assert(
      fc.property(strangersHeaders, ({ "x-forwarded-for": sent, ...others }) => {
        const appended = sent === undefined ? "192.0.2.9" : `${sent}, 192.0.2.9`;
        expect(read({ ...others, "x-forwarded-for": appended }).address).toBe("192.0.2.9");
      }),
    );
  });

  it("name the client before all trusted proxies", () => {
    expect(read({ "x-forwarded-for": "1.1.1.1, 192.0.2.9, 10.0.0.4" }).address).toBe("192.0.2.9");
    expect(read({ "x-forwarded-for": "192.0.2.9:4711" }).address).toBe("192.0.2.9");
    expect(read({ "x-forwarded-for": "[2001:db8::1]:4711" }).address).toBe("2001:db8::1");
    // The proxies' own requests.
    expect(read({ "x-forwarded-for": "10.0.0.3, 10.0.0.4" }).address).toBe("10.0.0.3");
    // What can't be read ends the list.
    expect(read({ "x-forwarded-for": "192.0.2.9, unknown, 10.0.0.4" }).address).toBe("10.0.0.4");
    expect(read({}).address).toBe(PROXY);
  });

  it("give protocol and host as the outermost trusted proxy got them", () => {
    const one = { "x-forwarded-proto": "https", "x-forwarded-host": "dialout.example" };
    const seen = { protocol: "https", host: "dialout.example" };
    expect(read({ ...one, "x-forwarded-for": "192.0.2.9" })).toMatchObject(seen);
    expect(read(one)).toMatchObject(seen);
    // Two proxies that append: the client's own value stands before theirs.
    const two = {
      "x-forwarded-for": "192.0.2.9, 10.0.0.4",
      "x-forwarded-proto": "http, https, http",
      "x-forwarded-host": "evil.example, dialout.example, inner",
    };
    expect(read(two)).toMatchObject(seen);
    // Two proxies of which the inner one passes the value on as it is.
    expect(read({ ...one, "x-forwarded-for": "192.0.2.9, 10.0.0.4" })).toMatchObject(seen);
  });

  it("are ignored where they are no protocol or host", () => {
    for (const host of ["a b", "evil.example/x", "user@evil.example", "a\tb", "", "a:b", "[x]"]) {
      expect(read({ "x-forwarded-host": host }).host, host).toBeNull();
    }
    for (const host of ["dialout.example:8443", "localhost", "[2001:db8::1]:8443"]) {
      expect(read({ "x-forwarded-host": host }).host).toBe(host);
    }
    expect(read({ "x-forwarded-proto": "ftp" }).protocol).toBeNull();
  });

  it("may be `Forwarded`, unless there is one of the others", () => {
    const forwarded =
      'for=1.1.1.1;host=evil.example, for="[2001:db8::1]:47";proto=https;host=dialout.example, for=10.0.0.4';
    expect(read({ forwarded: `${forwarded};host=dialout.example;proto=https` })).toEqual({
      address: "2001:db8::1",
      protocol: "https",
      host: "dialout.example",
    });
    expect(read({ forwarded, "x-forwarded-for": "192.0.2.9" })).toEqual({
      address: "192.0.2.9",
      protocol: null,
      host: null,
    });
    expect(read({ forwarded: "for=1.1.1.1;;=" })).toMatchObject({ protocol: null, host: null });
  });
});
