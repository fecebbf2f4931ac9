import { GLOBAL_ROOM } from "../protocol/address.ts";
import type { PresenceChange } from "../room/calls.ts";

/** How long a change waits for others, to be reported together with them, milliseconds. */
const GATHER_MS = 50;

/** The users who follow one room over this gateway, and the changes that are not yet reported to the room. */
export class RoomUsers {
  private readonly room: string;
  private readonly report: (changes: PresenceChange[]) => Promise<void>;
  private readonly counts = new Map<string, number>();
  private readonly changed = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(room: string, report: (changes: PresenceChange[]) => Promise<void>) {
    this.room = room;
    this.report = report;
  }

  /** All users and their number of sockets; none for `global`, where nobody is counted. */
  present(): PresenceChange[] {
    if (this.room === GLOBAL_ROOM) return [];
    return [...this.counts].map(([userId, connections]) => ({ userId, connections }));
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
    // Everyone follows `global`, so the room does not keep who is in it.
    if (userId === null || this.room === GLOBAL_ROOM) return;
    this.changed.add(userId);
    this.timer ??= setTimeout(() => this.reportChanged(), GATHER_MS);
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private count(userId: string | null, by: number): void {
    if (userId === null) return;
    const count = (this.counts.get(userId) ?? 0) + by;
    if (count > 0) this.counts.set(userId, count);
    else this.counts.delete(userId);
  }

  private reportChanged(): void {
    this.timer = null;
    if (this.changed.size === 0) return;
    const changes = [...this.changed].map((userId) => {
      return { userId, connections: this.counts.get(userId) ?? 0 };
    });
    this.changed.clear();
    this.report(changes).catch((error) => {
      console.error(`presence in ${this.room} could not be reported`, error);
    });
  }
}
