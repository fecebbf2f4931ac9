import { describe, expect, test } from "vitest";
import type { UserResource } from "../../src/protocol/accounts.ts";
import { mayGiveAway, mayMakeSpaces, mayManage, relationTo } from "../../src/web/space-rights.ts";

const person = (id: string, role: "admin" | "member") => ({ id, role }) as UserResource;
const mia = person("mia", "member");
const admin = person("root", "admin");

type Access = "use" | "manage" | null;
const space = (visibility: "public" | "private" | "shared", owner: string, access: Access) => ({
  visibility,
  owner,
  access,
});

describe("the list of spaces", () => {
  test("says of each why it is there", () => {
    expect(relationTo(space("public", "ada", "use"), null)).toBe("public");
    expect(relationTo(space("public", "ada", "use"), mia)).toBe("public");
    expect(relationTo(space("public", "ada", "manage"), mia)).toBe("shared with you");
    expect(relationTo(space("private", "ada", "use"), mia)).toBe("shared with you");
    expect(relationTo(space("shared", "ada", "use"), mia)).toBe("shared with you");
    expect(relationTo(space("private", "mia", "manage"), mia)).toBe("yours");
  });

  test("does not call shared with admins what they see as admins", () => {
    expect(relationTo(space("private", "ada", "manage"), admin)).toBe("private");
    expect(relationTo(space("public", "ada", "manage"), admin)).toBe("public");
    expect(relationTo(space("private", "root", "manage"), admin)).toBe("yours");
  });
});

describe("what the pages offer", () => {
  test("follows what the edge allows", () => {
    const shared = space("private", "ada", "manage");
    expect(mayManage(shared, mia)).toBe(true);
    expect(mayGiveAway(shared, mia)).toBe(false);
    expect(mayGiveAway(shared, admin)).toBe(true);
    expect(mayManage(space("public", "ada", "use"), mia)).toBe(false);
    expect(mayManage(space("public", "ada", "use"), null)).toBe(false);
  });

  test("lets members make spaces where the edge does", () => {
    const edge = { registration: "open", needs_setup: false, oauth: null } as const;
    expect(mayMakeSpaces(mia, { ...edge, space_creation: "members" })).toBe(true);
    expect(mayMakeSpaces(mia, { ...edge, space_creation: "admins" })).toBe(false);
    expect(mayMakeSpaces(admin, { ...edge, space_creation: "admins" })).toBe(true);
    expect(mayMakeSpaces(null, { ...edge, space_creation: "members" })).toBe(false);
  });
});
