import { z } from "zod";
import { segment } from "../client/edge.ts";
import { memberResource } from "../protocol/members.ts";
import { spaceResource, tokenResource } from "../protocol/resources.ts";
import { type CallResult, call } from "./api.ts";
import type { Settings } from "./setting-form.ts";

const spacePage = z.object({
  spaces: z.array(spaceResource),
  next_cursor: z.string().nullable(),
});

const memberList = z.object({ members: z.array(memberResource) });
const nothing = z.null();

const at = (space: string, rest = "") => `/api/spaces/${segment(space)}${rest}`;

type Sending = Pick<Parameters<typeof call>[0], "timeout" | "onSending">;

/** @param cursor the last name of the page before; `undefined`: the first page */
export const listSpaces = (cursor: string | undefined, sending: Sending) =>
  call({ path: "/api/spaces", query: { cursor, order: "mine" }, ...sending }, spacePage);
export const readSpace = (space: string) => call({ path: at(space) }, spaceResource);
export const makeSpace = (name: string, settings: Settings) =>
  call({ method: "POST", path: "/api/spaces", body: { name, ...settings } }, spaceResource);
/** @param changes the settings that change, or the new owner */
export const changeSpace = (space: string, changes: Settings) =>
  call({ method: "PATCH", path: at(space), body: changes }, spaceResource);
export const deleteSpace = (space: string) => remove(at(space));
export const drainSpace = (space: string) =>
  call({ method: "POST", path: at(space, "/drain"), body: {} }, spaceResource);

export const getTokens = (space: string) =>
  call({ path: at(space, "/tokens") }, z.object({ tokens: z.array(tokenResource) }));
export const makeToken = (space: string, name: string) =>
  call({ method: "POST", path: at(space, "/tokens"), body: { name } }, tokenResource);
export const revokeToken = (space: string, id: string) =>
  remove(at(space, `/tokens/${segment(id)}`));

export const getMembers = (space: string) => call({ path: at(space, "/members") }, memberList);
/** @param user the id of an account, or its email address */
export const putMember = (space: string, user: string, access: string) =>
  call({ method: "PUT", path: memberAt(space, user), body: { access } }, memberResource);
export const removeMember = (space: string, user: string) => remove(memberAt(space, user));

/** Whatever somebody typed: the edge says what is wrong with it. */
const memberAt = (space: string, user: string) =>
  at(space, `/members/${encodeURIComponent(user.toWellFormed())}`);

function remove(path: string): Promise<CallResult<null>> {
  return call({ method: "DELETE", path }, nothing);
}
