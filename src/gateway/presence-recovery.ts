import { LIMITS } from "../protocol/limits.ts";

/** How many rooms are checked in one alarm: an object may make a thousand calls in one. */
const MAX_AT_ONCE = 250;
/** Pause before the next ones, milliseconds. */
const PAUSE_MS = 1_000;

/** Stored while users may come back, so that the next instance of the object knows that this one stopped meanwhile. */
const KEY = "dropped";

/** The part of an object's storage that this uses. */
type RecoveryStorage = {
  get(key: string): unknown;
  put(key: string, value: unknown): void;
  delete(key: string): boolean;
};

interface PresenceRecoveryDeps {
  kv: RecoveryStorage;
  /** Makes the object call `onAlarm` at this time, milliseconds since 1970. */
  arm: (at: number) => void;
  /** Makes a room ask this gateway who is there. */
  check: (room: string) => Promise<void>;
}

/**
 * Reports users who dropped and whom only lost memory knew (decision 0038). That somebody was awaited is all
 * that is stored, since it changes far less often than who. After a restart every room is checked.
 */
export class PresenceRecovery {
  private readonly deps: PresenceRecoveryDeps;
  private isStored: boolean;
  private readonly unchecked = new Set<string>();
  private startsAt = 0;

  constructor(deps: PresenceRecoveryDeps) {
    this.deps = deps;
    this.isStored = deps.kv.get(KEY) !== undefined;
  }

  /** Whether the instance before this one stopped while users could come back. */
  get wasInterrupted(): boolean {
    return this.isStored;
  }

  /** Has these rooms checked once everybody who dropped before now has had time to come back. */
  begin(rooms: Iterable<string>): void {
    for (const room of rooms) this.unchecked.add(room);
    if (this.unchecked.size === 0) return;
    this.startsAt = Date.now() + LIMITS.presenceGraceMs;
    this.deps.arm(this.startsAt);
  }

  /** Users are awaited until `endsAt`, milliseconds since 1970. */
  onGrace(endsAt: number): void {
    if (!this.isStored) this.deps.kv.put(KEY, true);
    this.isStored = true;
    this.deps.arm(endsAt);
  }

  /** @returns the rooms that were checked now */
  async onAlarm(now: number, isWaiting: boolean): Promise<string[]> {
    const checked = now < this.startsAt ? [] : [...this.unchecked].slice(0, MAX_AT_ONCE);
    for (const room of checked) this.unchecked.delete(room);
    const results = await Promise.allSettled(checked.map((room) => this.deps.check(room)));
    for (const [index, room] of checked.entries()) {
      if (results[index]?.status === "rejected") this.unchecked.add(room);
    }
    if (this.unchecked.size > 0) this.deps.arm(Math.max(this.startsAt, now + PAUSE_MS));
    else if (this.isStored && !isWaiting) {
      this.deps.kv.delete(KEY);
      this.isStored = false;
    }
    return checked.filter((room) => !this.unchecked.has(room));
  }
}
