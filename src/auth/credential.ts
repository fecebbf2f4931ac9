import { z } from "zod";
import type { Principal } from "./principal.ts";

/** A session or key with which a socket was opened. Whoever it belongs to may lose it before the socket closes. */
export const credential = z.object({
  kind: z.enum(["session", "key"]),
  id: z.string(),
  /** The account that it belongs to; `null`: the operator. */
  userId: z.string().nullable(),
  /** The socket has an admin's rights, and must not outlive them. */
  asAdmin: z.boolean(),
});
export type Credential = z.infer<typeof credential>;

/** `null` for whatever can't be taken back: the operator's key, and users' tokens, which only expire. */
export function credentialOf(principal: Principal | null): Credential | null {
  if (principal?.kind === "account") {
    const { sessionId: id, userId, role } = principal;
    return { kind: "session", id, userId, asAdmin: role === "admin" };
  }
  if (principal?.kind === "key") {
    const { keyId: id, userId, role } = principal;
    return { kind: "key", id, userId, asAdmin: role === "admin" };
  }
  return null;
}

/** Whose it is: an account, or a key that belongs to no account. Names the `HolderObject`. */
export function holderOf({ userId, id }: Pick<Credential, "userId" | "id">): string {
  return userId === null ? keyHolder(id) : userHolder(userId);
}

export function userHolder(userId: string): string {
  return `user:${userId}`;
}

function keyHolder(keyId: string): string {
  return `key:${keyId}`;
}

/** The holder of a key. @param owner the account that it belongs to; `null`: the operator */
export function holderOfKey(owner: string | null, keyId: string): string {
  return owner === null ? keyHolder(keyId) : userHolder(owner);
}

/** How a holder names one of its credentials, such as `session:7hG…:admin`. */
export function credentialName({ kind, id, asAdmin }: Credential): string {
  return `${kind}:${id}:${asAdmin ? "admin" : "member"}`;
}

/** The parts of a credential's name. */
export function parseCredentialName(name: string): Omit<Credential, "userId"> {
  const [kind, id = "", role] = name.split(":");
  return { kind: kind === "session" ? "session" : "key", id, asAdmin: role === "admin" };
}

/** The account of a holder; `null`: it is a key of the operator. */
export function accountOfHolder(holder: string): string | null {
  return holder.startsWith("user:") ? holder.slice("user:".length) : null;
}

export const TAKEN_BACK =
  "Your session, key or role was taken back: sign in again, or use another key.";
