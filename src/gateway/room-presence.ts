import type { PresenceChange } from "../room/calls.ts";
import { GLOBAL_ROOM } from "../room/room-engine.ts";

/** Who came or went is told together with whatever else does soon after. */
const TOLD_AFTER_MS = 50;

/** The users with sockets in one room over this gateway, and what the room is still to be told of them. */
export class RoomPresence {
  private readonly room: string;
  private readonly report: (changes: PresenceChange[]) => Promise<void>;
  private readonly counts = new Map<string, number>();
  private readonly changed = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(room: string, tell: (changes: PresenceChange[]) => Promise<void>) {
    this.room = room;
    this.report = tell;
  }

  present(): PresenceChange[] {
    if (this.room === GLOBAL_ROOM) return [];
    return [...this.counts].map(([userId, connections]) => ({ userId, connections }));
  }

  /** Everyone, for a room that is told so now: nothing is left to tell. */
  takeAll(): PresenceChange[] {
    this.changed.clear();
    return this.present();
  }

  /** The room knows of it already. */
  restore(userId: string | null): void {
    this.count(userId, 1);
  }

  /** Sockets of a user came or went. */
  change(userId: string | null, by: number): void {
    this.count(userId, by);
    // Everyone is in it: nobody asks who.
    if (userId === null || this.room === GLOBAL_ROOM) return;
    this.changed.add(userId);
    this.timer ??= setTimeout(() => this.reportChanged(), TOLD_AFTER_MS);
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
      console.error(`who is in ${this.room} was not told`, error);
    });
  }
}
