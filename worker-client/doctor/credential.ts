import { type Finding, ok, unknown, wrong } from "./finding.ts";

/** Who asks for a diagnosis: a remote worker, or a program that submits and follows. */
export type Role = "worker" | "client";

export type CredentialKind = "worker token" | "API key" | "link's token" | "user's token" | "key";

/** What a credential is, by its form; the operator's key has none. */
export function kindOf(credential: string): CredentialKind {
  if (credential.startsWith("dow_")) return "worker token";
  if (credential.startsWith("dok_")) return "API key";
  if (credential.startsWith("dos_")) return "link's token";
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(credential) ? "user's token" : "key";
}

/** How each role is given its credential. */
const GIVE = {
  worker: "a worker token of the space with DIALOUT_TOKEN or --token-file",
  client: "a key or a user's token with DIALOUT_KEY or --key-file",
};
const MAKE =
  "worker tokens are made on the page /spaces/<space>/settings, or with `POST /api/spaces/<space>/tokens`";

/** What can be said about a credential without sending it. The finding never contains it. */
export function checkCredential(role: Role, credential: string | null, now: number): Finding {
  if (credential === null || credential === "") {
    if (role === "worker")
      return wrong("token", "no token was given", `give ${GIVE.worker}; ${MAKE}`);
    return unknown("token", `none was given, so you are anybody: give ${GIVE.client} to be known`);
  }
  if (!/^[\x21-\x7e]+$/.test(credential)) {
    const where = /\s/.test(credential) ? "a space or a line break" : "characters that no key has";
    return wrong("token", `it has ${where} in it`, `give it as it was shown: ${GIVE[role]}`);
  }
  const kind = kindOf(credential);
  if (role === "worker" && (kind === "API key" || kind === "user's token")) {
    return wrong(
      "token",
      `this is ${articled(kind)}, which serves no space`,
      `give ${GIVE.worker}; ${MAKE}`,
    );
  }
  if (role === "client" && (kind === "worker token" || kind === "link's token")) {
    const use =
      kind === "worker token" ? "it serves a space and submits nothing" : "it opens one job alone";
    return wrong("token", `this is a ${kind}: ${use}`, `give ${GIVE.client}`);
  }
  const expiresAt = kind === "user's token" ? expiryOf(credential) : null;
  if (expiresAt !== null && expiresAt <= now) {
    const at = new Date(expiresAt).toISOString();
    return wrong(
      "token",
      `this user's token expired at ${at}`,
      "get a new one from whoever makes them",
    );
  }
  return ok("token", `${articled(kind)} of ${credential.length} characters`);
}

function articled(kind: CredentialKind): string {
  return `${kind === "API key" ? "an" : "a"} ${kind}`;
}

/** When a JWT expires, milliseconds since 1970; `null` if it doesn't say. Only the edge can tell whether it is valid. */
function expiryOf(token: string): number | null {
  try {
    const claims: unknown = JSON.parse(
      Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8"),
    );
    const { exp } = Object(claims);
    return typeof exp === "number" && Math.abs(exp) < 8_640_000_000_000 ? exp * 1_000 : null;
  } catch {
    return null;
  }
}
