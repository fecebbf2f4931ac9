import { afterEach, describe, expect, it, vi } from "vitest";
import type { Credential } from "../../src/auth/credential.ts";
import { Credentials, type Standing } from "../../src/objects/credentials.ts";

const SESSION: Credential = { kind: "session", id: "s1", userId: "ann", asAdmin: false };

/** A holder whose answers the test gives, one after the other. */
function holder() {
  const asked: { name: string; answer: (standing: Standing) => void }[] = [];
  const credentials = new Credentials(
    (of, name) =>
      new Promise((answer) => asked.push({ name: `${of} ${name}`, answer: (to) => answer(to) })),
  );
  return { asked, credentials };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("an object that is about to accept a socket", () => {
  it("registers a credential once, and again after its holder has called", async () => {
    const { asked, credentials } = holder();
    const first = credentials.refusalOf(SESSION);
    asked[0]?.answer("valid");
    expect(await first).toBeNull();
    expect(await credentials.refusalOf(SESSION)).toBeNull();
    expect(asked.map(({ name }) => name)).toEqual(["user:ann session:s1:member"]);
    credentials.forget("user:ann");
    void credentials.refusalOf(SESSION);
    expect(asked).toHaveLength(2);
  });

  it("asks again if the holder calls while it registers: the answer may be from before", async () => {
    const { asked, credentials } = holder();
    const opening = credentials.refusalOf(SESSION);
    credentials.forget("user:ann");
    asked[0]?.answer("valid");
    await expect.poll(() => asked.length).toBe(2);
    asked[1]?.answer("ended");
    expect(await opening).toMatchObject({ code: "not_authenticated" });
  });

  it("registers an admin's rights apart from a member's, and keys by themselves", async () => {
    const { asked, credentials } = holder();
    void credentials.refusalOf(SESSION);
    void credentials.refusalOf({ ...SESSION, asAdmin: true });
    void credentials.refusalOf({ kind: "key", id: "k1", userId: null, asAdmin: true });
    expect(asked.map(({ name }) => name)).toEqual([
      "user:ann session:s1:member",
      "user:ann session:s1:admin",
      "key:k1 key:k1:admin",
    ]);
  });

  it("refuses for now if the holder can't be asked, and for more than it can remember", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const broken = new Credentials(() => Promise.reject(new Error("unreachable")));
    expect(await broken.refusalOf(SESSION)).toMatchObject({ code: "temporarily_unavailable" });
    const full = new Credentials(async () => "full");
    expect(await full.refusalOf(SESSION)).toMatchObject({ code: "rate_limited" });
  });

  it("asks nobody for a socket without a session or key", async () => {
    const { asked, credentials } = holder();
    expect(await credentials.refusalOf(null)).toBeNull();
    expect(asked).toEqual([]);
  });
});
