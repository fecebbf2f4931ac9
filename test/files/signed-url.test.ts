import { describe, expect, it } from "vitest";
import { checkFileUrl, signedFileUrl } from "../../src/files/signed-url.ts";

const SECRET = "a-signing-key-for-tests";
const KEY = "spaces/demo/inputs/01J/0";
const ORIGIN = "https://edge.test";
const EXPIRES_AT = 1_800_000_000_500;

/** What the edge gets of a signed address: the key, and the parameters. */
function readBack(url: string) {
  const { origin, pathname, searchParams } = new URL(url);
  return {
    origin,
    key: decodeURIComponent(pathname.replace(/^\/api\/files\//, "")),
    expires: searchParams.get("expires") ?? "",
    signature: searchParams.get("signature") ?? "",
  };
}

const { key, expires, signature } = readBack(signedFileUrl(SECRET, ORIGIN, KEY, EXPIRES_AT));

function isValid(changed: { key?: string; expires?: string; signature?: string; secret?: string }) {
  const given = { key, expires, signature, secret: SECRET, ...changed };
  const now = EXPIRES_AT - 1_000;
  return checkFileUrl([given.secret], given.key, given.expires, given.signature, now) === "valid";
}

describe("the signed address of a file", () => {
  it("is under the origin that it is made for, and names the file", () => {
    const made = readBack(signedFileUrl(SECRET, ORIGIN, KEY, EXPIRES_AT));
    expect(made).toMatchObject({ origin: ORIGIN, key: KEY, expires: "1800000001" });
  });

  it("keeps any character of a key, and its folders", () => {
    const strange = "spaces/a b/ü?#%/0";
    const url = signedFileUrl(SECRET, ORIGIN, strange, EXPIRES_AT);
    expect(new URL(url).pathname.split("/")).toHaveLength(7);
    expect(readBack(url).key).toBe(strange);
  });

  it("is valid up to its time, at most a second longer, and not after", () => {
    const at = (now: number) => checkFileUrl([SECRET], key, expires, signature, now);
    expect([0, EXPIRES_AT, EXPIRES_AT + 500].map(at)).toEqual(["valid", "valid", "valid"]);
    expect([EXPIRES_AT + 501, EXPIRES_AT + 1e9].map(at)).toEqual(["expired", "expired"]);
    expect(checkFileUrl(["another-key"], key, expires, signature, EXPIRES_AT + 1e9)).toBe("forged");
  });

  it("is valid with the former secret as long as that is taken beside the new one", () => {
    const check = (...secrets: string[]) => checkFileUrl(secrets, key, expires, signature, 0);
    expect(check("a-new-key", SECRET)).toBe("valid");
    expect(check("a-new-key")).toBe("forged");
  });

  it("opens no other file, and none with another time or another secret", () => {
    expect(isValid({})).toBe(true);
    expect(isValid({ key: "spaces/demo/inputs/01J/1" })).toBe(false);
    expect(isValid({ expires: "1800000002" })).toBe(false);
    expect(isValid({ secret: "another-key" })).toBe(false);
  });

  it.each([
    "spaces/demo/inputs/01J/./0",
    "spaces/demo/inputs/01J//0",
    "spaces/demo/inputs/01J/../01J/0",
    "spaces/demo/inputs/01J/0/",
    "spaces/demo/inputs/01J/%30",
    "spaces/demo/inputs/01J/00",
    "Spaces/demo/inputs/01J/0",
    "/spaces/demo/inputs/01J/0",
    "spaces/demo/inputs/01J/0\n",
  ])("opens nothing under another writing of its path: %j", (other) => {
    expect(isValid({ key: other })).toBe(false);
  });

  it("needs its whole signature", () => {
    for (const wrong of [
      "",
      "x",
      signature.slice(0, -1),
      `${signature}x`,
      signature.toLowerCase(),
    ]) {
      expect(isValid({ signature: wrong }), wrong).toBe(false);
    }
  });

  it.each([
    "",
    "soon",
    "1e12",
    "-1",
    "18000000010000",
    " 1800000001",
    "1800000001.5",
    "0x6b49d201",
  ])("has no other time than whole seconds: %j is refused, even if it is signed", (wrong) => {
    const at = Number.isFinite(Number(wrong)) ? Number(wrong) * 1_000 : EXPIRES_AT;
    const made = readBack(signedFileUrl(SECRET, ORIGIN, KEY, at)).signature;
    expect(isValid({ expires: wrong, signature: made })).toBe(false);
  });
});
