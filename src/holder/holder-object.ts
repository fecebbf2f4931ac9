import { DurableObject } from "cloudflare:workers";
import { validCredentials } from "../accounts/valid-credentials.ts";
import type { Env } from "../env.ts";
import type { Place, Standing } from "../objects/credentials.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import { type HolderRow, HolderStore } from "../storage/holder-store.ts";
import { objectSql } from "../storage/object-sql.ts";

/** After a change was announced, its sockets are looked at so often, and so long: whoever makes it may be killed. */
const CHANGE_CHECK_MS = 5_000;
const CHANGE_WITHIN_MS = 60_000;
/** An object is asked whether it still has sockets this long after the first, and then ever less often, milliseconds. */
const FIRST_REVIEW_MS = 3_600_000;
const LAST_REVIEW_MS = 86_400_000;
/** With more rows than this, objects are asked sooner: a program that follows short jobs leaves a row for each. */
const MANY_ROWS = 1_000;
const SOON_MS = 60_000;
/** Most rows: each is an object that must be called when the credential is taken back. */
const MAX_ROWS = 20_000;
/** Most objects that are called in one go; the next are called by the alarm right after. */
const MAX_CALLS = 500;
const EXPECTED_UNTIL = "expectedUntil";

/**
 * Knows which objects have sockets of one account, or of one key of the operator, and has them closed when the
 * session, key or role is taken back (decision 0057).
 */
export class HolderObject extends DurableObject<Env> {
  private readonly store: HolderStore;
  private readonly alarms: EarliestAlarm;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new HolderStore(objectSql(ctx.storage));
    this.alarms = new EarliestAlarm(ctx.storage);
    ctx.blockConcurrencyWhile(() => this.alarms.load());
  }

  /** An object is about to accept the first socket of a credential. It is stored there before D1 is looked at. */
  async register(place: Place, credential: string): Promise<Standing> {
    const count = this.store.count();
    if (count >= MAX_ROWS) return "full";
    const now = Date.now();
    const dueAt = now + (count < MANY_ROWS ? FIRST_REVIEW_MS : SOON_MS);
    this.store.add({ ...place, credential }, now, dueAt);
    this.alarms.arm(dueAt);
    const valid = await validCredentials(this.env.DB, this.name, [credential]);
    return valid.has(credential) ? "valid" : "ended";
  }

  /** Something of this holder is about to be taken back. If nobody calls `check` after it, the alarm does. */
  async expectChange(): Promise<void> {
    const now = Date.now();
    this.ctx.storage.kv.put(EXPECTED_UNTIL, now + CHANGE_WITHIN_MS);
    this.alarms.arm(now + CHANGE_CHECK_MS);
  }

  /** Ends the sockets whose credential is good no longer, and forgets objects that have no sockets of it any more. */
  async check(): Promise<void> {
    const rows = this.store.all();
    const names = [...new Set(rows.map(({ credential }) => credential))];
    const valid =
      names.length > 0 ? await validCredentials(this.env.DB, this.name, names) : new Set();
    const now = Date.now();
    const ended = names.filter((name) => !valid.has(name));
    const isDue = (row: HolderRow) => row.due_at <= now || !valid.has(row.credential);
    const places = [...byPlace(rows).values()].filter((ofPlace) => ofPlace.some(isDue));
    const reviews = await Promise.allSettled(
      places.slice(0, MAX_CALLS).map((ofPlace) => this.review(ofPlace, ended, now)),
    );
    for (const review of reviews) {
      if (review.status === "rejected") console.error("sockets were not ended", review.reason);
    }
    const isIncomplete =
      places.length > MAX_CALLS || reviews.some(({ status }) => status === "rejected");
    if (isIncomplete) this.alarms.arm(Date.now() + CHANGE_CHECK_MS);
    this.alarms.arm(this.store.nextDueAt());
  }

  override async alarm(): Promise<void> {
    this.alarms.forget();
    try {
      await this.check();
    } catch (error) {
      console.error("a holder's sockets could not be checked", error);
      this.alarms.arm(Date.now() + CHANGE_CHECK_MS);
      return;
    }
    const { kv } = this.ctx.storage;
    const now = Date.now();
    const isExpecting = now < (kv.get<number>(EXPECTED_UNTIL) ?? 0);
    if (isExpecting) this.alarms.arm(now + CHANGE_CHECK_MS);
    else if (this.store.count() === 0) await this.erase();
    else kv.delete(EXPECTED_UNTIL);
  }

  /** @param rows all that is known of one object */
  private async review(rows: HolderRow[], ended: string[], now: number): Promise<void> {
    const [place] = rows;
    if (!place) return;
    const stub = stubOf(this.env, place as Place);
    const alive = await stub.review(this.name, ended);
    for (const row of rows) {
      if (!alive.includes(row.credential)) this.store.remove(row);
      else if (row.due_at <= now) this.store.postpone(row, now + pauseAfter(now - row.since));
    }
  }

  private async erase(): Promise<void> {
    this.store.forget();
    this.alarms.forget();
    await this.ctx.storage.deleteAll();
  }

  private get name(): string {
    return this.ctx.id.name ?? "";
  }
}

/** A socket that has been open for long is likely to stay open. */
function pauseAfter(age: number): number {
  return Math.min(LAST_REVIEW_MS, Math.max(FIRST_REVIEW_MS, age));
}

function byPlace(rows: readonly HolderRow[]): Map<string, HolderRow[]> {
  const places = new Map<string, HolderRow[]>();
  for (const row of rows) {
    const key = `${row.kind} ${row.name}`;
    const known = places.get(key);
    if (known) known.push(row);
    else places.set(key, [row]);
  }
  return places;
}

/** Every object that holds sockets has this method. */
interface Reviewed {
  review(holder: string, ended: string[]): Promise<string[]>;
}

function stubOf(env: Env, { kind, name }: Place): Reviewed {
  switch (kind) {
    case "space":
      return env.SPACE.getByName(name);
    case "job":
      return env.JOB.getByName(name);
    case "job-index":
      return env.JOB_INDEX.getByName(name);
    case "room":
      return env.ROOM.getByName(name);
    case "gateway":
      return env.GATEWAY.getByName(name);
    case "monitor":
      return env.MONITOR.getByName(name);
  }
}
