import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Caller, caller, callerFor } from "../../src/auth/caller.ts";
import {
  accessOf,
  includes,
  jobRefusalOf,
  type Purpose,
  refusalOf,
  type SpaceRights,
  submitterOf,
} from "../../src/space/access.ts";
import { NO_SUCH_JOB } from "../../src/space/calls.ts";
import { ADMIN, ANYBODY } from "../support/callers.ts";

const users = fc.constantFrom("ann", "ben", "cleo");
const spaces = fc.record({
  name: fc.constantFrom("demo", "team-a", "team-b"),
  owner: fc.option(users),
  members: fc
    .array(fc.tuple(users, fc.constantFrom("use" as const, "manage" as const)))
    .map((entries) => new Map(entries)),
  settings: fc.record({
    visibility: fc.constantFrom("public" as const, "private" as const, "shared" as const),
    anonymous_use: fc.boolean(),
  }),
}) satisfies fc.Arbitrary<SpaceRights>;
const scopes = fc.subarray(["jobs:read", "jobs:write", "spaces:admin", "metrics:read"]);
const keys = fc.record({
  kind: fc.constant("key" as const),
  keyId: fc.constant("key-1"),
  userId: users,
  role: fc.constantFrom("admin" as const, "member" as const),
  scopes,
  space: fc.option(fc.constantFrom("demo", "team-a")),
  expiresAt: fc.constant(null),
});
const patterns = fc.array(fc.constantFrom("demo", "team-*", "team-a", "*", "other", "t*"));
const PURPOSES: Purpose[] = ["see", "watch", "submit", "list", "manage", "own"];

function sessionOf(userId: string, role: "admin" | "member" = "member"): Caller {
  return callerFor({ kind: "account", userId, role, sessionId: "s", expiresAt: 0 });
}
function tokenOf(userId: string, named: readonly string[]): Caller {
  return callerFor({
    kind: "user",
    userId,
    expiresAt: 0,
    rooms: ["*"],
    publish: ["*"],
    spaces: named,
  });
}
const jobs = fc.record({ user: fc.option(users), share: fc.constantFrom(null, "hash") });

describe("what somebody may do with a space", () => {
  it("is everything for admins, and for nobody more than for somebody who is known (H1b)", () => {
    const holds = fc.property(spaces, users, (space, user) => {
      const known = accessOf(space, sessionOf(user));
      expect(accessOf(space, ADMIN)).toBe("manage");
      expect(accessOf(space, sessionOf(user, "admin"))).toBe("manage");
      expect(includes(known, accessOf(space, ANYBODY))).toBe(true);
      expect(includes("manage", known)).toBe(true);
    });
    fc.assert(holds);
  });

  it("is never more with a key than its owner may, nor with a scope less than without it (H1c)", () => {
    const holds = fc.property(spaces, keys, jobs, (space, key, job) => {
      const [owner, holder] = [sessionOf(key.userId, key.role), callerFor(key)];
      expect(includes(accessOf(space, owner), accessOf(space, holder))).toBe(true);
      for (const purpose of PURPOSES) {
        if (refusalOf(space, owner, purpose) === null) continue;
        expect(refusalOf(space, holder, purpose)).not.toBe(null);
      }
      for (const purpose of ["see", "change"] as const) {
        if (jobRefusalOf(space, owner, job, purpose) === null) continue;
        expect(jobRefusalOf(space, holder, job, purpose)).not.toBe(null);
      }
      const more = callerFor({ ...key, scopes: [...key.scopes, "jobs:read"] });
      expect(includes(accessOf(space, more), accessOf(space, holder))).toBe(true);
    });
    fc.assert(holds);
  });

  it("is with a key for one space nothing elsewhere but what anybody sees (H1c)", () => {
    const holds = fc.property(spaces, keys, jobs, (space, key, job) => {
      fc.pre(key.space !== null && key.space !== space.name);
      const holder = callerFor(key);
      const seen = space.settings.visibility === "public" ? "see" : "none";
      expect(accessOf(space, holder)).toBe(seen);
      if (job.user !== null) expect(jobRefusalOf(space, holder, job, "see")).not.toBe(null);
    });
    fc.assert(holds);
  });

  it("is by a token what it names and what anybody may, whoever its user is (H1d)", () => {
    const holds = fc.property(spaces, users, patterns, (space, user, named) => {
      const token = accessOf(space, tokenOf(user, named));
      const isNamed = named.some(
        (pattern) =>
          pattern === space.name ||
          (pattern.endsWith("*") && space.name.startsWith(pattern.slice(0, -1))),
      );
      expect(token).toBe(isNamed ? "use" : accessOf(space, ANYBODY));
    });
    fc.assert(holds);
  });

  it("is nothing but looking with an expired token, which is told so (H1f)", () => {
    const holds = fc.property(spaces, (space) => {
      const expired = callerFor({ kind: "anonymous", expired: "The token has expired." });
      for (const purpose of PURPOSES) {
        const refusal = refusalOf(space, expired, purpose);
        const isOpen =
          space.settings.visibility === "public" && (purpose === "see" || purpose === "watch");
        if (isOpen) expect(refusal).toBe(null);
        else expect(refusal).toMatchObject({ code: expect.stringMatching(/not_a/) });
        if (!isOpen && purpose === "submit") expect(refusal?.detail).toBe("The token has expired.");
      }
    });
    fc.assert(holds);
  });
});

describe("a job", () => {
  it("that is somebody else's is answered exactly like one that isn't there (H1e)", () => {
    const anyone = fc.oneof(
      fc.constant(ANYBODY),
      users.map((user) => sessionOf(user)),
      keys.map((key) => callerFor(key)),
      fc.tuple(users, patterns).map(([user, named]) => tokenOf(user, named)),
      fc.constant({ ...ANYBODY, share: "another" }),
    );
    const holds = fc.property(spaces, anyone, jobs, (space, who, job) => {
      for (const purpose of ["see", "change"] as const) {
        const refusal = jobRefusalOf(space, who, job, purpose);
        if (refusal === null) continue;
        expect(refusal).toEqual(jobRefusalOf(space, who, null, purpose));
      }
    });
    fc.assert(holds);
  });

  it("is seen and changed by its user, by those who manage the space, and by nobody else (H1e)", () => {
    const holds = fc.property(spaces, users, users, (space, owner, user) => {
      const who = sessionOf(user);
      const mayDo = user === owner || accessOf(space, who) === "manage";
      for (const purpose of ["see", "change"] as const) {
        const refusal = jobRefusalOf(space, who, { user: owner, share: null }, purpose);
        expect(refusal).toEqual(mayDo ? null : NO_SUCH_JOB);
        expect(jobRefusalOf(space, ADMIN, { user: owner, share: null }, purpose)).toBe(null);
      }
    });
    fc.assert(holds);
  });

  it("of nobody is seen by whoever may see the space, and changed by whoever may use it (H1e)", () => {
    const holds = fc.property(spaces, users, (space, user) => {
      for (const who of [ANYBODY, sessionOf(user)]) {
        const job = { user: null, share: null };
        const access = accessOf(space, who);
        expect(jobRefusalOf(space, who, job, "see") === null).toBe(includes(access, "see"));
        expect(jobRefusalOf(space, who, job, "change") === null).toBe(includes(access, "use"));
      }
    });
    fc.assert(holds);
  });

  it("that is shared is seen by whoever has the link, and not changed (H1h)", () => {
    const holds = fc.property(spaces, (space) => {
      const guest = caller.parse({ isAdmin: false, share: "hash" });
      const job = { user: "ann", share: "hash" };
      expect(jobRefusalOf(space, guest, job, "see")).toBe(null);
      expect(jobRefusalOf(space, guest, job, "change")).not.toBe(null);
      expect(jobRefusalOf(space, guest, { ...job, share: null }, "see")).not.toBe(null);
      expect(jobRefusalOf(space, guest, { ...job, share: "new" }, "see")).not.toBe(null);
    });
    fc.assert(holds);
  });

  it("is the submitter's, or whose those say who manage the space (H1j)", () => {
    const holds = fc.property(spaces, users, users, (space, user, named) => {
      const who = sessionOf(user);
      expect(submitterOf(space, who, undefined)).toEqual({ ok: true, user });
      expect(submitterOf(space, ADMIN, named)).toEqual({ ok: true, user: named });
      expect(submitterOf(space, ANYBODY, named)).toMatchObject({ code: "not_allowed" });
      const mayName = named === user || accessOf(space, who) === "manage";
      expect(submitterOf(space, who, named).ok).toBe(mayName);
    });
    fc.assert(holds);
  });
});
