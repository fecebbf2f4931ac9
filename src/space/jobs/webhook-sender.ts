import type { WebhookEvent } from "../../protocol/resources.ts";
import { isEnded } from "../../queue/job.ts";
import type { SpaceStore } from "../../storage/space-store.ts";
import type { WebhookDelivery, WebhookStore } from "../../storage/webhook-store.ts";
import { makeSecret, sendMessage } from "../../webhooks/message.ts";
import { type DeliveryOutcome, isDelivered, nextAttemptAt } from "../../webhooks/retry.ts";
import { refusalOf } from "../../webhooks/target.ts";
import type { Change } from "./unit-of-work.ts";

/** Least time between two messages about a job's output or progress, milliseconds. */
const STREAM_EVERY_MS = 500;
/** At most this many messages are sent at once: the platform allows an object six open outgoing connections. */
const MAX_CONCURRENT = 6;

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
  /** Ids of the messages that are being sent. */
  private readonly sending = new Set<string>();

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
      if (log.some(({ kind }) => kind === "output")) happened.push("output");
      if (log.some(({ kind }) => kind === "progress")) happened.push("logs");
      if (isEnded(job)) happened.push("completed");
      for (const event of happened.filter((candidate) => events.includes(candidate))) {
        const isStream = event === "output" || event === "logs";
        const dueAt = isStream && !isEnded(job) ? now + STREAM_EVERY_MS : now;
        const delivery = { id: `msg_${makeId()}`, ulid: job.ulid, event, url, dueAt };
        this.deps.store.add(delivery, now, isStream);
        earliest = Math.min(earliest ?? dueAt, dueAt);
      }
    }
    return earliest;
  }

  /** When the next message is due that is not being sent; `null` if there is none, or no more can be sent now. */
  dueAt(): number | null {
    return this.sendable()[0]?.dueAt ?? null;
  }

  /** Starts to send the messages that are due, without waiting for the answers. */
  send(now: number): void {
    for (const delivery of this.sendable()) {
      if (delivery.dueAt > now) return;
      this.sending.add(delivery.id);
      void this.deliver(delivery);
    }
  }

  /** The next messages, as many as there are free connections. */
  private sendable() {
    const free = MAX_CONCURRENT - this.sending.size;
    if (free === 0) return [];
    const pending = this.deps.store.pending(MAX_CONCURRENT);
    return pending.filter(({ id }) => !this.sending.has(id)).slice(0, free);
  }

  private async deliver(delivery: WebhookDelivery): Promise<void> {
    const outcome = await this.attempt(delivery);
    this.sending.delete(delivery.id);
    this.deps.runIfOpen((now) => {
      const attempts = delivery.attempts + 1;
      const dueAt = isDelivered(outcome)
        ? null
        : nextAttemptAt(outcome, attempts, now, Math.random());
      const status = "status" in outcome ? outcome.status : null;
      const error = "error" in outcome ? outcome.error : null;
      this.deps.store.recordAttempt(delivery.id, { status, error, dueAt }, now);
    });
  }

  private async attempt({ id, ulid, event, url }: WebhookDelivery): Promise<DeliveryOutcome> {
    const refusal = refusalOf(url, this.deps.allowPrivate);
    if (refusal !== null) return { error: `The address ${refusal}.` };
    const job = this.deps.jobBody(ulid);
    if (job === null) return { status: 410 };
    return sendMessage({ id, url, event, job }, this.secret(), new Date());
  }
}
