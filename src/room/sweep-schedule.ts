import { z } from "zod";

/** How often all rooms without events are asked whether anybody follows them, milliseconds. */
const EVERY_MS = 86_400_000;

/** How many rooms take their turn at once: each costs a call or more, and an alarm may make a thousand. */
const MAX_AT_ONCE = 250;
/** Pause between two such groups of one sweep, milliseconds. */
const PAUSE_MS = 60_000;

const KEY = "sweep";

const progress = z.object({
  /** When the sweep begins or goes on, milliseconds since 1970. */
  at: z.number(),
  /** The last room that had its turn; empty before a sweep begins. */
  after: z.string(),
});

/** The part of an object's storage in which the progress of a sweep is stored. */
interface SweepStorage {
  get(key: string): unknown;
  put(key: string, value: unknown): void;
}

/** Decides which rooms are checked next for whether anybody still needs them (decision 0028). */
export class SweepSchedule {
  private readonly kv: SweepStorage;

  constructor(kv: SweepStorage) {
    this.kv = kv;
  }

  /** When the sweep begins or goes on, milliseconds since 1970. The first one begins EVERY_MS from now. */
  dueAt(now: number): number {
    const known = this.read();
    if (known) return known.at;
    const at = now + EVERY_MS;
    this.kv.put(KEY, { at, after: "" });
    return at;
  }

  /** The rooms whose turn it is now; none if no sweep is due. The next call continues after them. */
  take(rooms: readonly string[], now: number): string[] {
    const { at, after } = this.read() ?? { at: this.dueAt(now), after: "" };
    if (now < at) return [];
    const rest = rooms.filter((room) => room > after).sort();
    const taken = rest.slice(0, MAX_AT_ONCE);
    const last = taken.at(-1) ?? "";
    const next =
      rest.length > MAX_AT_ONCE
        ? { at: now + PAUSE_MS, after: last }
        : { at: now + EVERY_MS, after: "" };
    this.kv.put(KEY, next);
    return taken;
  }

  private read(): z.infer<typeof progress> | null {
    return progress.safeParse(this.kv.get(KEY)).data ?? null;
  }
}
