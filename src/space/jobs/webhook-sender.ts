import type { WebhookEvent } from "../../protocol/resources.ts";
import { isEnded } from "../../queue/job.ts";
import type { SpaceStore } from "../../storage/space-store.ts";
import type { WebhookDelivery, WebhookStore } from "../../storage/webhook-store.ts";
import { makeSecret, sendMessage } from "../../webhooks/message.ts";
import { leadsInside } from "../../webhooks/resolve.ts";
import { type DeliveryOutcome, isDelivered, nextAttemptAt } from "../../webhooks/retry.ts";
import { refusalOf } from "../../webhooks/target.ts";
import {
  MAX_CONCURRENT,
  nextReceiver,
  type Sending,
  SLOW_MS,
  type Standing,
  toPostpone,
  type WaitingReceiver,
} from "../../webhooks/turns.ts";
import type { Change } from "./unit-of-work.ts";

/** Least time between two messages about a job's output or progress, milliseconds. */
const STREAM_EVERY_MS = 500;
/** A message that was given up so that others get their turn is sent again after this time, milliseconds. */
const POSTPONED_MS = 5_000;
/** How many receivers' standing is remembered; the oldest is forgotten. */
const MAX_KNOWN = 1_000;

/** Why a message was given up for now. */
const POSTPONED = "Others wait for their turn.";

interface SendingMessage extends Sending {
  id: string;
  controller: AbortController;
}

interface WebhookSenderDeps {
  store: WebhookStore;
  spaces: SpaceStore;
  /** Whether messages may go to private addresses too, for an edge on one's own machine. */
  allowPrivate: boolean;
  /** The job as `GET /api/jobs/:id` shows it, as JSON text; `null` if it was erased. */
  jobBody: (ulid: string) => string | null;
  /** Runs `step` in a batch of its own, unless the space was deleted meanwhile. */
  runIfOpen: (step: (now: number) => void) => void;
}

/**
 * Sends webhook messages about jobs, and retries them. A message is stored in the same transaction as the
 * change it is about and sent afterwards, so a crash loses none.
 */
export class WebhookSender {
  private readonly deps: WebhookSenderDeps;
  /** The messages that are being sent, by id. */
  private readonly sending = new Map<string, SendingMessage>();
  /** How each receiver answered lately. */
  private readonly standings = new Map<string, Standing>();
  private turnTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(deps: WebhookSenderDeps) {
    this.deps = deps;
  }

  /** The secret that signs the messages. It is made on first use. */
  secret(): string {
    return this.deps.spaces.webhookSecret() ?? this.renewSecret();
  }

  renewSecret(): string {
    const secret = makeSecret();
    this.deps.spaces.keepWebhookSecret(secret);
    return secret;
  }

  /**
   * Stores the messages that a batch's changes cause. Call this within the batch's transaction.
   *
   * @returns when the first of them is due, milliseconds since 1970; `null` if there is none
   */
  storeMessages(changes: readonly Change[], now: number, makeId: () => string): number | null {
    let earliest: number | null = null;
    for (const { job, before, log } of changes) {
      if (job.webhook === null) continue;
      const { url, events } = job.webhook;
      const happened: WebhookEvent[] = [];
      if (job.status === "processing" && before?.status !== "processing") happened.push("start");
      if (log.some(({ kind }) => kind === "output" || kind === "file")) happened.push("output");
      if (log.some(({ kind }) => kind === "progress")) happened.push("logs");
      if (isEnded(job)) happened.push("completed");
      for (const event of happened.filter((candidate) => events.includes(candidate))) {
        const isStream = event === "output" || event === "logs";
        const dueAt = isStream && !isEnded(job) ? now + STREAM_EVERY_MS : now;
        const receiver = new URL(url).origin;
        const delivery = { id: `msg_${makeId()}`, ulid: job.ulid, event, url, receiver, dueAt };
        this.deps.store.add(delivery, now, isStream);
        earliest = Math.min(earliest ?? dueAt, dueAt);
      }
    }
    return earliest;
  }

  /** When the next message is due that may be sent; `null` if there is none, or no more can be sent now. */
  dueAt(): number | null {
    const sending = [...this.sending.values()];
    const dues = this.waiting().flatMap((candidate) => {
      const next = nextReceiver([candidate], sending, this.standingOf);
      return next === null ? [] : next.dueAt;
    });
    return dues.length === 0 ? null : Math.min(...dues);
  }

  /** Starts to send the messages that are due, without waiting for the answers. */
  send(now: number): void {
    for (;;) {
      const due = this.waiting().filter(({ dueAt }) => dueAt <= now);
      const next = nextReceiver(due, [...this.sending.values()], this.standingOf);
      const delivery = next && this.firstOf(next.receiver);
      if (!delivery) break;
      const { id, receiver } = delivery;
      this.sending.set(id, { id, receiver, since: now, controller: new AbortController() });
      void this.deliver(delivery);
    }
    this.watchTurns(now);
  }

  /** Gives up what is being sent, because the space is deleted: its receivers are told nothing more. */
  stop(): void {
    if (this.turnTimer !== null) clearTimeout(this.turnTimer);
    for (const { controller } of this.sending.values()) controller.abort("The space was deleted.");
  }

  private readonly standingOf = (receiver: string): Standing =>
    this.standings.get(receiver) ?? "unknown";

  /** The receivers of messages that are not being sent yet, with when the first of these is due. */
  private waiting(): WaitingReceiver[] {
    return this.deps.store.waitingReceivers().flatMap(({ receiver, dueAt }) => {
      if (![...this.sending.values()].some((message) => message.receiver === receiver)) {
        return { receiver, dueAt };
      }
      const delivery = this.firstOf(receiver);
      return delivery ? { receiver, dueAt: delivery.dueAt } : [];
    });
  }

  private firstOf(receiver: string) {
    const pending = this.deps.store.pendingOf(receiver, MAX_CONCURRENT + 1);
    return pending.find(({ id }) => !this.sending.has(id)) ?? null;
  }

  /** Looks again after a second whether receivers that hang hold up others. */
  private watchTurns(now: number): void {
    const young = [...this.sending.values()].filter(({ since }) => now - since < SLOW_MS);
    if (young.length === 0 || this.turnTimer !== null) return;
    const wakeAt = Math.min(...young.map(({ since }) => since)) + SLOW_MS;
    this.turnTimer = setTimeout(() => {
      this.turnTimer = null;
      this.deps.runIfOpen((later) => this.takeTurns(later));
    }, wakeAt - now);
  }

  private takeTurns(now: number): void {
    const messages = [...this.sending.values()];
    for (const { receiver, since } of messages) {
      if (now - since >= SLOW_MS) this.remember(receiver, "slow");
    }
    const isDue = this.waiting().some(({ dueAt }) => dueAt <= now);
    if (isDue) for (const { controller } of toPostpone(messages, now)) controller.abort(POSTPONED);
    this.send(now);
  }

  private async deliver(delivery: WebhookDelivery): Promise<void> {
    const { id, receiver } = delivery;
    const message = this.sending.get(id);
    const signal = message?.controller.signal ?? AbortSignal.abort();
    const outcome = await this.attempt(delivery, signal);
    this.sending.delete(id);
    this.deps.runIfOpen((now) => {
      if (signal.aborted) {
        this.deps.store.postpone(id, now + POSTPONED_MS);
        return;
      }
      const isQuick = isDelivered(outcome) && now - (message?.since ?? 0) < SLOW_MS;
      this.remember(receiver, isQuick ? "proven" : "slow");
      const attempts = delivery.attempts + 1;
      const dueAt = isDelivered(outcome)
        ? null
        : nextAttemptAt(outcome, attempts, now, Math.random());
      const status = "status" in outcome ? outcome.status : null;
      const error = "error" in outcome ? outcome.error : null;
      this.deps.store.recordAttempt(id, { status, error, dueAt }, now);
    });
  }

  private remember(receiver: string, standing: Standing): void {
    this.standings.delete(receiver);
    this.standings.set(receiver, standing);
    const [oldest] = this.standings.keys();
    if (this.standings.size > MAX_KNOWN && oldest !== undefined) this.standings.delete(oldest);
  }

  private async attempt(
    { id, ulid, event, url }: WebhookDelivery,
    signal: AbortSignal,
  ): Promise<DeliveryOutcome> {
    const refusal = refusalOf(url, this.deps.allowPrivate);
    if (refusal !== null) return { error: `The address ${refusal}.` };
    if (!this.deps.allowPrivate && (await leadsInside(url))) {
      return { error: "The address resolves to a private one." };
    }
    if (signal.aborted) return { error: POSTPONED };
    const job = this.deps.jobBody(ulid);
    if (job === null) return { status: 410 };
    return sendMessage({ id, url, event, job }, this.secret(), new Date(), signal);
  }
}
