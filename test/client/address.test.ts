import { describe, expect, test } from "vitest";
import { unreachable } from "../../src/client/answer.ts";
import { edgeAddress, isMixedContent } from "../../src/client/edge-address.ts";
import { DialoutClient, DialoutError } from "../../src/client/index.ts";

const PAGE = new URL("https://app.example.com/jobs/");

function addressOf(url: string | undefined, page: URL | null = null): string {
  return edgeAddress(url, page).href;
}

function refusalOf(url: unknown, page: URL | null = null): DialoutError {
  try {
    edgeAddress(url as string, page);
  } catch (error) {
    if (error instanceof DialoutError) return error;
  }
  throw new Error(`${String(url)} was not refused`);
}

describe("the address of the edge", () => {
  test.each([
    ["http://127.0.0.1:8787", "http://127.0.0.1:8787/"],
    ["  https://edge.example.com/dialout/ ", "https://edge.example.com/dialout/"],
    ["https://edge.example.com/?token=secret#x", "https://edge.example.com/"],
    ["http://edge.example.com:80", "http://edge.example.com/"],
    ["https://bücher.example", "https://xn--bcher-kva.example/"],
    ["https://edge.example.com/api", "https://edge.example.com/api"],
  ])("%s is used as it is, without query and hash", (url, address) => {
    expect(addressOf(url)).toBe(address);
  });

  test.each([
    ["127.0.0.1:8787", "http://127.0.0.1:8787/"],
    ["localhost:8787", "http://localhost:8787/"],
    ["[::1]:8787", "http://[::1]:8787/"],
    ["edge.example.com", "https://edge.example.com/"],
    ["edge.example.com:8443/dialout", "https://edge.example.com:8443/dialout"],
    ["//edge.example.com", "https://edge.example.com/"],
    ["192.168.0.7:8787", "https://192.168.0.7:8787/"],
  ])("%s is a host: http: on this machine, https: elsewhere", (url, address) => {
    expect(addressOf(url)).toBe(address);
    expect(addressOf(url, PAGE)).toBe(address);
  });

  test("is the page's own without a `url`, or under it for a path", () => {
    expect(addressOf(undefined, PAGE)).toBe("https://app.example.com/");
    expect(addressOf("", PAGE)).toBe("https://app.example.com/");
    expect(addressOf("/edge", PAGE)).toBe("https://app.example.com/edge");
  });

  test.each([
    ["ws://edge:8787", "begins with http: or https:, not ws: Write http://edge:8787"],
    ["wss://edge", "Write https://edge"],
    ["ftp://edge", "begins with http: or https:, not ftp:"],
    ["http:edge", "no // after the scheme"],
    ["http://", "not an address"],
    ["http://edge:99999", "not an address"],
    ["http://ed ge", "a space in it"],
    ["   ", "it is empty"],
    ["http://ada:secret@edge", "give the key as `token`"],
    ["http://edge/spaces/demo", "write the address of the edge, http://edge"],
    ["http://edge/sub/spaces/demo/", "write the address of the edge, http://edge/sub"],
    ["http://edge/api/spaces/demo/jobs", "write the address of the edge, http://edge"],
    ["http://edge/api/jobs/render-42", "write the address of the edge, http://edge"],
    ["/edge", "only in a page"],
    ["", "it is empty"],
    [undefined, "`url` is needed"],
    [null, "it is null"],
    [8787, "it is a number"],
    [{}, "it is an object"],
  ])("%s is refused with a sentence that says what to write", (url, sentence) => {
    const { code, message } = refusalOf(url);
    expect(code).toBe("invalid_url");
    expect(message).toContain(sentence);
    expect(message).toContain("http://127.0.0.1:8787");
    expect(message).not.toContain("secret");
  });

  test("is checked when the client is created", () => {
    expect(() => new DialoutClient({ url: "ws://edge" })).toThrow(DialoutError);
    expect(() => new DialoutClient({ url: new URL("http://edge/spaces/demo") })).toThrow(
      "http://edge",
    );
  });

  test("is mixed content if the page came over https:, except on the own machine", () => {
    expect(isMixedContent(new URL("http://edge.example.com"), PAGE)).toBe(true);
    expect(isMixedContent(new URL("http://127.0.0.1:8787"), PAGE)).toBe(false);
    expect(isMixedContent(new URL("https://edge.example.com"), PAGE)).toBe(false);
    expect(isMixedContent(new URL("http://edge.example.com"), new URL("http://a"))).toBe(false);
    expect(isMixedContent(new URL("http://edge.example.com"), null)).toBe(false);
  });
});

describe("a request without an answer", () => {
  test("is explained by the scheme if the browser forbids http: to the page", () => {
    const error = unreachable(new TypeError("Failed to fetch"), new URL("http://edge"), true);
    expect(error.code).toBe("wrong_scheme");
    expect(error.message).toContain("loaded over https:");
  });

  test("may be a matter of the scheme if the other side hung up", () => {
    const cause = Object.assign(new Error("other side closed"), { code: "UND_ERR_SOCKET" });
    const { message } = unreachable(
      new TypeError("fetch failed", { cause }),
      new URL("http://edge"),
      false,
    );
    expect(message).toContain("other side closed. If the edge is served over https:");
  });

  test.each([
    ["https://edge", "ERR_SSL_WRONG_VERSION_NUMBER", "wrong_scheme"],
    ["https://edge", "ERR_SSL_PACKET_LENGTH_TOO_LONG", "wrong_scheme"],
    ["http://edge", "HPE_INVALID_CONSTANT", "wrong_scheme"],
    ["https://edge", "ENOTFOUND", "unreachable"],
  ])("of %s with the cause %s is %s", (url, code, expected) => {
    const cause = Object.assign(new Error("why"), { code });
    const error = unreachable(new TypeError("fetch failed", { cause }), new URL(url), false);
    expect(error.code).toBe(expected);
  });
});

describe("the options of a client", () => {
  test.each([
    [{ timeout: -1 }, "timeout"],
    [{ requestTimeout: Number.NaN }, "requestTimeout"],
    [{ parseJson: () => ({ offset: { value: "7" } }) }, "parseJson"],
  ])("%o is refused", (options, name) => {
    const create = () => new DialoutClient({ url: "http://edge", ...options });
    expect(create).toThrow(expect.objectContaining({ code: "invalid_option" }));
    expect(create).toThrow(name);
  });

  test("a token with a line break at its end is refused without repeating it", () => {
    const create = () => new DialoutClient({ url: "http://edge", token: "secret\n" });
    expect(create).toThrow(expect.objectContaining({ code: "invalid_token" }));
    expect(create).not.toThrow("secret\n");
  });
});

describe("a name", () => {
  const client = new DialoutClient({ url: "http://edge" });

  test.each(["", ".", "..", "\ud800", 7 as unknown as string])("%j is refused", async (name) => {
    const refusal = { code: "invalid_request" };
    await expect(client.space(name).get()).rejects.toMatchObject(refusal);
    await expect(client.space(name).submit({})).rejects.toMatchObject(refusal);
    await expect(client.job(name).get()).rejects.toMatchObject(refusal);
    await expect(client.job(name).cancel()).rejects.toMatchObject(refusal);
    await expect(client.job(name).result()).rejects.toMatchObject(refusal);
    await expect(client.reporter(name).output("a")).rejects.toMatchObject(refusal);
    expect(() => client.space(name).watch({})).toThrow(expect.objectContaining(refusal));
  });
});
