import { Hono } from "hono";
import { Users } from "../accounts/users.ts";
import { SpaceCatalog } from "../catalog/space-catalog.ts";
import { LIMITS } from "../protocol/limits.ts";
import { type MemberResource, memberList, putMemberBody } from "../protocol/members.ts";
import { managerOf } from "./access.ts";
import { note } from "./audit.ts";
import { readJson } from "./body.ts";
import { type AppContext, type AppEnv, callSpaceForText, spaceParam } from "./context.ts";
import { ProblemError, validate } from "./problems.ts";
import { requireRight } from "./spaces.ts";

/** `/api/spaces/:space/members`: who may use or manage a space besides its owner. */
export const members = new Hono<AppEnv>()
  .get("/", async (c) => {
    const { caller, name } = await requireRight(c, "manage");
    const text = await callSpaceForText(c, name, (stub) => stub.members(caller));
    const { owner, members } = memberList.parse(JSON.parse(text));
    const names = await new Users(c.env.DB).names(members.map(({ user }) => user));
    const list = members.map(
      ({ user, access }): MemberResource => ({ user, name: names.get(user) ?? null, access }),
    );
    return c.json({ owner, members: list });
  })
  .put("/:user", async (c) => {
    // Before anything is looked up: who does not manage the space must not learn who has an account.
    const { caller, name } = await requireRight(c, "manage");
    const { access } = validate(putMemberBody, await readJson(c, LIMITS.accountBodyBytes));
    const user = await new Users(c.env.DB).find(userParam(c));
    if (user === null) throw noSuchUser();
    await callSpaceForText(c, name, (stub) => stub.putMember(caller, user.id, access));
    await new SpaceCatalog(c.env.DB).setMember(name, user.id, access);
    await note(c, "member.put", `space:${name}`, { user: user.id, access });
    const member: MemberResource = { user: user.id, name: user.name, access };
    return c.json(member);
  })
  .delete("/:user", async (c) => {
    const caller = await managerOf(c);
    const name = spaceParam(c);
    const user = userParam(c);
    await callSpaceForText(c, name, (stub) => stub.removeMember(caller, user));
    await new SpaceCatalog(c.env.DB).setMember(name, user, null);
    await note(c, "member.remove", `space:${name}`, { user });
    return c.body(null, 204);
  });

function userParam(c: AppContext): string {
  const user = c.req.param("user") ?? "";
  if (user.length <= 254) return user;
  throw noSuchUser();
}

function noSuchUser(): ProblemError {
  const detail = "There is no account with that id or email address, or it can't be used.";
  return new ProblemError("user_not_found", detail);
}
