import { asDialoutError, type DialoutError } from "./errors.ts";
import type { RoomPresence } from "./room-handle.ts";
import type { Presence } from "./room-subscriber.ts";

/** A user who is in a room. */
export interface RoomUser {
  user_id: string;
  /** When the user joined. */
  since: string;
}

interface RoomUsersDeps {
  /** Fetches the list of users. */
  fetch: () => Promise<RoomPresence>;
  onUsers: (users: readonly RoomUser[]) => void;
  /** The list can't be fetched, and trying again is of no use. */
  onError: (error: DialoutError) => void;
}

/** Error codes after which fetching the list again can succeed. */
const PASSING = ["unreachable", "temporarily_unavailable", "internal", "rate_limited"];
const RETRY_MS = 5_000;

/**
 * Who is in a room: a list that is fetched whenever following begins or begins again, and then kept up to date
 * by each user who joins or leaves. Those that arrive during a fetch are applied to its answer as well, which
 * may be older than they are; applying one twice changes nothing.
 */
export class RoomUsers {
  readonly #deps: RoomUsersDeps;
  #users = new Map<string, RoomUser>();
  /** What arrived during the fetch; `null` if none is under way. */
  #meanwhile: Presence[] | null = null;
  #isKnown = false;
  #fetches = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(deps: RoomUsersDeps) {
    this.#deps = deps;
  }

  async refresh(): Promise<void> {
    clearTimeout(this.#retry);
    this.#fetches += 1;
    const fetch = this.#fetches;
    this.#meanwhile = [];
    try {
      const { users } = await this.#deps.fetch();
      if (fetch === this.#fetches) this.#onList(users);
    } catch (error) {
      if (fetch === this.#fetches) this.#onFailure(asDialoutError(error, "unreachable"));
    }
  }

  onPresence(presence: Presence): void {
    this.#meanwhile?.push(presence);
    if (!this.#isKnown) return;
    this.#apply(presence);
    this.#report();
  }

  stop(): void {
    clearTimeout(this.#retry);
    this.#fetches += 1;
  }

  #onList(users: RoomPresence["users"]): void {
    this.#users = new Map(users.map(({ user_id, since }) => [user_id, { user_id, since }]));
    for (const presence of this.#meanwhile ?? []) this.#apply(presence);
    this.#meanwhile = null;
    this.#isKnown = true;
    this.#report();
  }

  #onFailure(error: DialoutError): void {
    if (PASSING.includes(error.code) || (error.status ?? 0) >= 500) {
      this.#retry = setTimeout(() => void this.refresh(), RETRY_MS * (0.5 + Math.random()));
    } else this.#deps.onError(error);
  }

  #apply({ type, user_id, timestamp }: Presence): void {
    if (type === "presence.left") this.#users.delete(user_id);
    else if (!this.#users.has(user_id)) this.#users.set(user_id, { user_id, since: timestamp });
  }

  #report(): void {
    this.#deps.onUsers([...this.#users.values()]);
  }
}
