import { z } from "zod";
import { isFinal } from "../client/answer.ts";
import {
  auditEntry,
  type CreateKeyBody,
  invitationResource,
  keyResource,
  type MintTokenBody,
  mintedToken,
  type Role,
  registration,
  sessionResource,
  spaceCreation,
  type UserPatch,
  userResource,
} from "../protocol/accounts.ts";
import { type CallResult, call } from "./api.ts";

const nothing = z.null();
const signedIn = z.object({ user: userResource });
const me = z.object({ user: userResource.nullable() });
const edge = z.object({
  registration,
  needs_setup: z.boolean(),
  space_creation: spaceCreation,
  oauth: z.string().nullable(),
});

export type Me = z.infer<typeof me>["user"];
export type EdgeAccounts = z.infer<typeof edge>;

/** What the edge says of its accounts to anybody. */
export const getAccounts = () => call({ path: "/api/auth" }, edge);
export const getMe = () => call({ path: "/api/me" }, me);

const post = <T>(path: string, body: object, schema: z.ZodType<T>) =>
  call({ method: "POST", path, body }, schema);

export interface NewPerson {
  name: string;
  email: string;
  password: string;
}

export const setUp = (person: NewPerson, key: string) =>
  post("/api/auth/setup", { ...person, key }, signedIn);
export const signUp = (person: NewPerson, invitation: string) =>
  post("/api/auth/sign-up", invitation === "" ? person : { ...person, invitation }, signedIn);
export const signIn = (email: string, password: string) =>
  post("/api/auth/sign-in", { email, password }, signedIn);
export const startOauth = (next: string, invitation: string) =>
  post(
    "/api/auth/oauth",
    invitation === "" ? { next } : { next, invitation },
    z.object({ url: z.url() }),
  );
export const signOut = () => post("/api/auth/sign-out", {}, nothing);

export const rename = (name: string) =>
  call({ method: "PATCH", path: "/api/me", body: { name } }, signedIn);
export const changePassword = (current: string, next: string) =>
  post("/api/me/password", { current_password: current, new_password: next }, nothing);
export const getSessions = () =>
  call({ path: "/api/me/sessions" }, z.object({ sessions: z.array(sessionResource) }));
export const endSession = (id: string) => remove(`/api/me/sessions/${encodeURIComponent(id)}`);

export const getKeys = () => call({ path: "/api/keys" }, z.object({ keys: z.array(keyResource) }));
export const makeKey = (body: CreateKeyBody) => post("/api/keys", body, keyResource);
export const revokeKey = (id: string) => remove(`/api/keys/${encodeURIComponent(id)}`);

export const makeToken = (body: MintTokenBody) => post("/api/tokens", body, mintedToken);

export const getUsers = (cursor: string) =>
  call(
    { path: "/api/users", query: { cursor } },
    z.object({ users: z.array(userResource), next_cursor: z.string().nullable() }),
  );
export const changeUser = (id: string, patch: UserPatch) =>
  call({ method: "PATCH", path: `/api/users/${encodeURIComponent(id)}`, body: patch }, signedIn);
export const getInvitations = (cursor: string) =>
  call(
    { path: "/api/invitations", query: { cursor } },
    z.object({ invitations: z.array(invitationResource), next_cursor: z.string().nullable() }),
  );
export const invite = (role: Role, email: string) =>
  post("/api/invitations", email === "" ? { role } : { role, email }, invitationResource);
export const withdrawInvitation = (id: string) =>
  remove(`/api/invitations/${encodeURIComponent(id)}`);
export const getAudit = (cursor: string) =>
  call(
    { path: "/api/audit", query: { cursor } },
    z.object({ entries: z.array(auditEntry), next_cursor: z.string().nullable() }),
  );

/** What is gone already is removed, for example by a first attempt whose answer was lost. */
async function remove(path: string): Promise<CallResult<null>> {
  const answer = await call({ method: "DELETE", path }, nothing);
  const isGone = !answer.ok && isFinal(answer.error) && answer.error.status === 404;
  return isGone ? { ok: true, value: null } : answer;
}
