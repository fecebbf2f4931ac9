import { type Credential, credentialName, holderOf, TAKEN_BACK } from "../auth/credential.ts";
import type { Env } from "../env.ts";
import { logErrors } from "./log-errors.ts";
import type { Refusal } from "./reply.ts";

/** The kinds of objects that hold sockets of people and programs. */
export const PLACE_KINDS = ["space", "job", "job-index", "room", "gateway", "monitor"] as const;

/** An object that holds sockets. */
export interface Place {
  kind: (typeof PLACE_KINDS)[number];
  name: string;
}

/** What the holder says of a credential: it may be used, it was taken back, or it is used in too many objects. */
export type Standing = "valid" | "ended" | "full";

const REFUSALS: { [standing in Exclude<Standing, "valid">]: Refusal } = {
  ended: { ok: false, code: "not_authenticated", detail: TAKEN_BACK },
  full: {
    ok: false,
    code: "rate_limited",
    detail: "You have sockets at too many channels: close some, or share one among your users.",
  },
};
const UNKNOWN: Refusal = {
  ok: false,
  code: "temporarily_unavailable",
  detail: "Your session or key could not be checked now: try again.",
};

/** How many holders an object remembers; each takes some hundred bytes. */
const MAX_HOLDERS = 10_000;

/**
 * Makes sure that an object's sockets end when the session or key is taken back with which they were opened. Before
 * the first socket of a credential is accepted, the object registers at the holder (`HolderObject`), which looks only
 * then whether the credential is still good. So whoever takes it back later finds this object there.
 *
 * Example of what goes wrong without the order: the Worker checks a key, the key is revoked, and nobody finds a
 * socket to close; then the socket is opened with what the Worker found, and stays.
 */
export class Credentials {
  private readonly register: (holder: string, name: string) => Promise<Standing>;
  /** The credentials that are registered, by holder, since this object was last told that one may have ended. */
  private readonly registered = new Map<string, Set<string>>();

  constructor(register: (holder: string, name: string) => Promise<Standing>) {
    this.register = register;
  }

  /** Why a socket of this credential can't be opened; `null` if it can, unless something is awaited in between. */
  async refusalOf(credential: Credential | null): Promise<Refusal | null> {
    if (credential === null) return null;
    try {
      const standing = await this.standingOf(holderOf(credential), credentialName(credential));
      return standing === "valid" ? null : REFUSALS[standing];
    } catch (error) {
      console.error("a credential could not be registered", error);
      return UNKNOWN;
    }
  }

  /** Looks everything of this holder up again for its next socket: something of it may have been taken back. */
  forget(holder: string): void {
    this.registered.delete(holder);
  }

  private async standingOf(holder: string, name: string): Promise<Standing> {
    const known = this.registered.get(holder) ?? this.begin(holder);
    if (known.has(name)) return "valid";
    const standing = await this.register(holder, name);
    // The holder has called meanwhile: it may have done so after it looked, and before it answered.
    if (this.registered.get(holder) !== known) return this.standingOf(holder, name);
    if (standing === "valid") known.add(name);
    return standing;
  }

  private begin(holder: string): Set<string> {
    const [oldest] = this.registered.keys();
    if (this.registered.size >= MAX_HOLDERS && oldest !== undefined) this.registered.delete(oldest);
    const known = new Set<string>();
    this.registered.set(holder, known);
    return known;
  }
}

export function credentialsOf(
  env: Pick<Env, "HOLDER">,
  kind: Place["kind"],
  ctx: DurableObjectState,
): Credentials {
  const place = { kind, name: ctx.id.name ?? "" };
  return new Credentials((holder, name) => env.HOLDER.getByName(holder).register(place, name));
}

/** The last frame of a socket of rooms whose credential was taken back. */
export function takenBackFrame(): object {
  return { type: "connection.error", code: "not_authenticated", message: TAKEN_BACK };
}

/**
 * Ends the sockets whose credential was taken back; returns the names of the holder's credentials that still have
 * sockets among these.
 */
export function reviewSockets<S>(
  sockets: readonly S[],
  { holder, ended }: { holder: string; ended: readonly string[] },
  {
    credentialOf,
    end,
  }: { credentialOf: (socket: S) => Credential | null; end: (socket: S) => void },
): string[] {
  const alive = new Set<string>();
  for (const socket of sockets) {
    const credential = credentialOf(socket);
    if (credential === null || holderOf(credential) !== holder) continue;
    const name = credentialName(credential);
    if (ended.includes(name)) logErrors(() => end(socket));
    else alive.add(name);
  }
  return [...alive];
}
