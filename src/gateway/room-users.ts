import { GLOBAL_ROOM } from "../protocol/address.ts";
import type { PresenceChange } from "../room/calls.ts";
import { PresenceGrace } from "../room/presence-grace.ts";

/** How long a change waits for others, to be reported together with them, milliseconds. */
const GATHER_MS = 50;

interface RoomUsersDeps {
  room: string;
  /** Reports to the room how many sockets users have. */
  report: (changes: PresenceChange[]) => Promise<void>;
  /** Called with the time at which `settle` is due, milliseconds since 1970. */
  onGrace: (endsAt: number) => void;
}

/**
 * The users who follow one room over this gateway, and the changes that are not yet reported to the room.
 * Nothing is reported of a user whose socket dropped until their time to come back is over (decision 0038).
 */
export class RoomUsers {
  private readonly deps: RoomUsersDeps;
  private readonly counts = new Map<string, number>();
  private readonly changed = new Set<string>();
  private readonly grace: PresenceGrace;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(deps: RoomUsersDeps) {
    this.deps = deps;
    this.grace = new PresenceGrace(deps.onGrace);
  }

  /** Whether something is yet to be reported to the room. */
  get isUnsettled(): boolean {
    return this.changed.size > 0 || this.grace.size > 0;
  }

  dueAt(): number | null {
    return this.grace.dueAt();
  }

  /** All users and their number of sockets; none for `global`, where nobody is counted. */
  present(): PresenceChange[] {
    if (this.isUncounted) return [];
    const users = new Set([...this.counts.keys(), ...this.grace.users]);
    return [...users].map((userId) => ({ userId, connections: this.countOf(userId) }));
  }

  /** All users, to be reported to the room now; single changes need not be reported any more. */
  takeAll(): PresenceChange[] {
    this.changed.clear();
    return this.present();
  }

  /** Counts a socket that the room knows of already. */
  restore(userId: string | null): void {
    this.count(userId, 1);
  }

  /** Counts `by` more (or fewer) sockets of a user, and reports that soon. */
  change(userId: string | null, by: number): void {
    this.count(userId, by);
    if (userId === null || this.isUncounted || this.grace.has(userId)) return;
    this.changed.add(userId);
    this.timer ??= setTimeout(() => this.reportChanged(), GATHER_MS);
  }

  /** Counts `by` fewer sockets of a user, who may be back soon. */
  drop(userId: string | null, by: number): void {
    this.count(userId, -by);
    if (userId === null || this.isUncounted) return;
    this.grace.start(userId, Date.now());
  }

  /** Reports the users whose time to come back is over. */
  settle(now: number): void {
    for (const userId of this.grace.takeOver(now)) this.changed.add(userId);
    this.reportChanged();
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  /** Everyone follows `global`, so the room does not keep who is in it. */
  private get isUncounted(): boolean {
    return this.deps.room === GLOBAL_ROOM;
  }

  /** A user who is awaited counts as one who has a socket. */
  private countOf(userId: string): number {
    return this.counts.get(userId) ?? (this.grace.has(userId) ? 1 : 0);
  }

  private count(userId: string | null, by: number): void {
    if (userId === null) return;
    const count = (this.counts.get(userId) ?? 0) + by;
    if (count > 0) this.counts.set(userId, count);
    else this.counts.delete(userId);
  }

  private reportChanged(): void {
    this.stop();
    if (this.changed.size === 0) return;
    const changes = [...this.changed].map((userId) => {
      return { userId, connections: this.countOf(userId) };
    });
    this.changed.clear();
    this.deps.report(changes).catch((error) => {
      console.error(`presence in ${this.deps.room} could not be reported`, error);
      for (const { userId } of changes) this.grace.start(userId, Date.now());
    });
  }
}
