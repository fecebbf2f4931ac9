import { z } from "zod";

/** Once in so long, rooms without events are asked whether anybody follows them, milliseconds. */
const EVERY_MS = 86_400_000;

/** At a time; each is a call or more, and an alarm may make a thousand. */
const AT_ONCE = 250;
const PAUSE_MS = 60_000;

const KEY = "sweep";

const stored = z.object({
  at: z.number(),
  /** The last room that had its turn; empty at the beginning of a sweep. */
  after: z.string(),
});

/** Where it is remembered how far a sweep has come. */
interface Stored {
  get(key: string): unknown;
  put(key: string, value: unknown): void;
}

/** Whose turn it is to be looked through for what nobody needs any more. */
export class SweepSchedule {
  private readonly kv: Stored;

  constructor(kv: Stored) {
    this.kv = kv;
  }

  /** When the next begins or goes on, milliseconds since 1970: a whole time from now where there was none. */
  dueAt(now: number): number {
    const known = this.read();
    if (known) return known.at;
    const at = now + EVERY_MS;
    this.kv.put(KEY, { at, after: "" });
    return at;
  }

  /** The rooms whose turn it is now: none while no sweep is due. */
  take(rooms: readonly string[], now: number): string[] {
    const { at, after } = this.read() ?? { at: this.dueAt(now), after: "" };
    if (now < at) return [];
    const rest = rooms.filter((room) => room > after).sort();
    const taken = rest.slice(0, AT_ONCE);
    const last = taken.at(-1) ?? "";
    const next =
      rest.length > AT_ONCE
        ? { at: now + PAUSE_MS, after: last }
        : { at: now + EVERY_MS, after: "" };
    this.kv.put(KEY, next);
    return taken;
  }

  private read(): z.infer<typeof stored> | null {
    return stored.safeParse(this.kv.get(KEY)).data ?? null;
  }
}
