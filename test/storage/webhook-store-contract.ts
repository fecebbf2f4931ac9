import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { WebhookEvent } from "../../src/protocol/resources.ts";
import { migrate } from "../../src/storage/migrations.ts";
import { type WebhookDelivery, WebhookStore } from "../../src/storage/webhook-store.ts";
import { ulidAt } from "./stored-jobs.ts";
import type { WithSql } from "./with-sql.ts";

const RECEIVERS = ["https://a.example", "https://b.example", "https://c.example"];
const JOBS = [ulidAt(1), ulidAt(2)];
const EVENTS: WebhookEvent[] = ["start", "completed"];

type Step =
  | { does: "add"; job: number; event: number; receiver: number; dueAt: number; once: boolean }
  | { does: "record"; nth: number; status: number | null; dueAt: number | null }
  | { does: "postpone"; nth: number; dueAt: number };

const dueAt = fc.integer({ min: 0, max: 50 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    does: fc.constant("add" as const),
    job: fc.nat(JOBS.length - 1),
    event: fc.nat(EVENTS.length - 1),
    receiver: fc.nat(RECEIVERS.length - 1),
    dueAt,
    once: fc.boolean(),
  }),
  fc.record({
    does: fc.constant("record" as const),
    nth: fc.nat(20),
    status: fc.option(fc.constantFrom(200, 500)),
    dueAt: fc.option(dueAt),
  }),
  fc.record({ does: fc.constant("postpone" as const), nth: fc.nat(20), dueAt }),
);

/** The messages as a plain list, on which every query is easy to answer. */
class PlainMessages {
  readonly all: WebhookDelivery[] = [];

  apply(step: Step, store: WebhookStore, now: number): void {
    if (step.does === "add") this.add(step, store, now);
    // Only a message that is still to be sent is tried, or postponed.
    const waiting = this.all.filter((message) => message.dueAt !== null);
    const message = step.does === "add" ? undefined : waiting[step.nth % waiting.length];
    if (step.does === "add" || message === undefined) return;
    message.dueAt = step.dueAt;
    if (step.does === "postpone") {
      store.postpone(message.id, step.dueAt);
      return;
    }
    const { status } = step;
    const error = status === null ? "no answer" : null;
    store.recordAttempt(message.id, { status, error, dueAt: step.dueAt }, now);
    Object.assign(message, { status, error, updatedAt: now, attempts: message.attempts + 1 });
  }

  private add(step: Extract<Step, { does: "add" }>, store: WebhookStore, now: number): void {
    const [ulid = "", event = "completed"] = [JOBS[step.job], EVENTS[step.event]];
    const receiver = RECEIVERS[step.receiver] ?? "";
    const id = `msg_${String(this.all.length).padStart(3, "0")}`;
    const message = { id, ulid, event, url: `${receiver}/hook`, receiver, dueAt: step.dueAt };
    store.add(message, now, step.once);
    const isPending = this.all.some(
      (one) => one.ulid === ulid && one.event === event && one.dueAt !== null && one.attempts === 0,
    );
    if (step.once && isPending) return;
    const untried = { attempts: 0, status: null, error: null };
    this.all.push({ ...message, ...untried, createdAt: now, updatedAt: now });
  }

  /** When the messages to a receiver are due that are still to be sent, the earliest first. */
  duesOf(receiver: string): number[] {
    return this.all
      .flatMap((one) => (one.receiver === receiver && one.dueAt !== null ? [one.dueAt] : []))
      .sort((a, b) => a - b);
  }
}

function expectSame(store: WebhookStore, plain: PlainMessages): void {
  for (const ulid of JOBS) {
    expect(store.ofJob(ulid)).toEqual(plain.all.filter((one) => one.ulid === ulid));
  }
  const waiting = RECEIVERS.flatMap((receiver) => {
    const [first] = plain.duesOf(receiver);
    return first === undefined ? [] : [{ receiver, dueAt: first }];
  });
  expect(store.waitingReceivers()).toEqual(waiting);
  for (const receiver of RECEIVERS) {
    const pending = store.pendingOf(receiver, 3);
    expect(pending.map(({ dueAt }) => dueAt)).toEqual(plain.duesOf(receiver).slice(0, 3));
    for (const one of pending) expect(plain.all).toContainEqual(one);
  }
}

export function webhookStoreContract(withSql: WithSql): void {
  describe("the messages to webhooks", () => {
    it("are found by their job and by their receiver, the earliest due first, whatever became of them", () =>
      fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), (steps) =>
          withSql((sql) => {
            migrate(sql);
            const store = new WebhookStore(sql);
            const plain = new PlainMessages();
            for (const [index, one] of steps.entries()) {
              plain.apply(one, store, 1_000 + index);
              expectSame(store, plain);
            }
          }),
        ),
        { numRuns: 40 },
      ));

    it("have a thousand receivers that take turns at most, so that choosing one stays quick", () =>
      withSql((sql) => {
        migrate(sql);
        const store = new WebhookStore(sql);
        for (let n = 0; n < 1_002; n += 1) {
          const receiver = `https://r${String(n).padStart(4, "0")}.example`;
          const of = { ulid: ulidAt(1), event: "completed" as const, url: receiver, receiver };
          store.add({ id: `msg_${n}`, ...of, dueAt: n }, 1, false);
        }
        const turns = store.waitingReceivers();
        expect(turns).toHaveLength(1_000);
        expect(turns.at(-1)).toEqual({ receiver: "https://r0999.example", dueAt: 999 });
      }));
  });
}
