import type { WebhookEvent } from "../../protocol/resources.ts";
import { isEnded } from "../../queue/job.ts";
import type { SpaceStore } from "../../storage/space-store.ts";
import type { WebhookDelivery, WebhookStore } from "../../storage/webhook-store.ts";
import { makeSecret, sendMessage } from "../../webhooks/message.ts";
import { type DeliveryOutcome, isDelivered, nextAttemptAt } from "../../webhooks/retry.ts";
import { refusalOf } from "../../webhooks/target.ts";
import type { Change } from "./unit-of-work.ts";

/** Output and logs are told at most this often, milliseconds. */
const STREAM_EVERY_MS = 500;
/** Messages under way at once: an object may have so many open connections, and no more than six wait. */
const AT_ONCE = 6;

interface Parts {
  store: WebhookStore;
  spaces: SpaceStore;
  /** On one's own machine any address will do. */
  allowPrivate: boolean;
  jobBody: (ulid: string) => string | null;
  /** Stores what came of an attempt, in a batch of its own. */
  runIfOpen: (work: (now: number) => void) => void;
}

/** Tells endpoints of jobs: what is to be told is stored with what happened, and told afterwards. */
export class WebhookSender {
  private readonly parts: Parts;
  private readonly underWay = new Set<string>();

  constructor(parts: Parts) {
    this.parts = parts;
  }

  /** The secret that signs what is told; made when it is first asked for. */
  secret(): string {
    return this.parts.spaces.webhookSecret() ?? this.renewSecret();
  }

  renewSecret(): string {
    const secret = makeSecret();
    this.parts.spaces.keepWebhookSecret(secret);
    return secret;
  }

  /** Stores what a batch gives to tell, inside its transaction; when the first of it is due. */
  note(changes: readonly Change[], now: number, makeId: () => string): number | null {
    let earliest: number | null = null;
    for (const { job, before, log } of changes) {
      if (job.webhook === null) continue;
      const { url, events } = job.webhook;
      const happened: WebhookEvent[] = [];
      if (job.status === "processing" && before?.status !== "processing") happened.push("start");
      if (log.some(({ kind }) => kind === "output")) happened.push("output");
      if (log.some(({ kind }) => kind === "progress")) happened.push("logs");
      if (isEnded(job)) happened.push("completed");
      for (const event of happened.filter((one) => events.includes(one))) {
        const isStream = event === "output" || event === "logs";
        const dueAt = isStream && !isEnded(job) ? now + STREAM_EVERY_MS : now;
        const delivery = { id: `msg_${makeId()}`, ulid: job.ulid, event, url, dueAt };
        this.parts.store.add(delivery, now, isStream);
        earliest = Math.min(earliest ?? dueAt, dueAt);
      }
    }
    return earliest;
  }

  /** When the next message is due that is not under way; `null` where none is, or no more can be sent. */
  dueAt(): number | null {
    return this.waiting()[0]?.dueAt ?? null;
  }

  /** Sends what is due, without waiting for what comes of it. */
  send(now: number): void {
    for (const delivery of this.waiting()) {
      if (delivery.dueAt > now) return;
      this.underWay.add(delivery.id);
      void this.deliver(delivery);
    }
  }

  private waiting() {
    const free = AT_ONCE - this.underWay.size;
    if (free === 0) return [];
    const pending = this.parts.store.pending(AT_ONCE);
    return pending.filter(({ id }) => !this.underWay.has(id)).slice(0, free);
  }

  private async deliver(delivery: WebhookDelivery): Promise<void> {
    const told = await this.attempt(delivery);
    this.underWay.delete(delivery.id);
    this.parts.runIfOpen((now) => {
      const attempts = delivery.attempts + 1;
      const dueAt = isDelivered(told) ? null : nextAttemptAt(told, attempts, now, Math.random());
      const status = "status" in told ? told.status : null;
      const error = "error" in told ? told.error : null;
      this.parts.store.recordAttempt(delivery.id, { status, error, dueAt }, now);
    });
  }

  private async attempt({ id, ulid, event, url }: WebhookDelivery): Promise<DeliveryOutcome> {
    const refusal = refusalOf(url, this.parts.allowPrivate);
    if (refusal !== null) return { error: `The address ${refusal}.` };
    const job = this.parts.jobBody(ulid);
    if (job === null) return { status: 410 };
    return sendMessage({ id, url, event, job }, this.secret(), new Date());
  }
}
