import { BURST_FRAMES, BurstDetector } from "../objects/burst-detector.ts";
import { FrameAllowance } from "../objects/frame-allowance.ts";
import type { BatchStep, Inbox } from "../objects/inbox.ts";
import { messageLength } from "../objects/message-length.ts";
import { lengthCost } from "../objects/rate-limiter.ts";
import {
  type Connection,
  isWorker,
  type SubscriberConnection,
  type WorkerConnection,
} from "./connections.ts";
import { FrameLimits } from "./frame-limits.ts";
import type { SpaceParts } from "./space-parts.ts";
import { NOTHING } from "./subscribers/submit-gate.ts";
import {
  isAnsweredLate,
  isSubmit,
  type SubscriberMessage,
} from "./subscribers/subscriber-handler.ts";
import type { ReadFrame } from "./workers/refused-frames.ts";

/** For frames: what they cause to be sent is in the send buffer, so nothing else is answered. */
const NO_ANSWER = { answer: () => undefined };

/**
 * A worker's message of this length, characters, is decoded only when it is handled: of thousands that come at once
 * each then takes so little time that other requests need not wait for all of them. A longer one may be a batch, and
 * its number of frames decides whether more are waited for (decision 0006).
 */
const DECODED_LATER = 512;

interface MessageIntakeDeps {
  inbox: Inbox;
  /** The space was deleted. */
  isRetired: () => boolean;
  /** Runs its argument at once, in a batch of its own, unless the space was deleted. */
  runIfOpen: (step: BatchStep) => void;
  /** Runs its argument after everything that arrived before it, unless the space was deleted. */
  runInOrder: (step: BatchStep) => Promise<void>;
  /** Runs a command within a batch; if it fails, the others of the batch still run. */
  runStep: (step: BatchStep, now: number) => void;
}

/** Counts and decodes the messages of a space's sockets, and adds their frames to the next batch in their order. */
export class MessageIntake {
  private readonly parts: SpaceParts;
  private readonly deps: MessageIntakeDeps;
  /** Arrivals of subscribers' frames. */
  private readonly frames = new BurstDetector(BURST_FRAMES);
  /** Frames that may be stored one by one: all but submits, which the rate limit counts. */
  private readonly allowance = new FrameAllowance();
  private readonly limits = new FrameLimits();
  /** The newest `follow` or `unfollow` of a socket, until it is answered: that is after all else of its batch. */
  private readonly late = new WeakMap<SubscriberConnection, Promise<void>>();

  constructor(parts: SpaceParts, deps: MessageIntakeDeps) {
    this.parts = parts;
    this.deps = deps;
  }

  /** Handles a message in one batch with whatever else arrives in the same turn of the event loop. */
  async onMessage(connection: Connection, raw: string | ArrayBuffer): Promise<void> {
    if (this.limits.hasRefused(connection)) {
      this.parts.core.connections.ignore();
      return;
    }
    if (isWorker(connection)) this.onWorkerMessage(connection, raw);
    else await this.onSubscriberMessage(connection, raw);
  }

  private async onSubscriberMessage(subscriber: SubscriberConnection, raw: string | ArrayBuffer) {
    const { gate, subscribers } = this.parts;
    const { connections } = this.parts.core;
    const isNoFrame = connections.onHeard(subscriber, raw);
    const least = isNoFrame ? 1 : lengthCost(raw);
    let excess = this.count(subscriber, least);
    const messages = isNoFrame || excess !== null ? [] : subscribers.decode(subscriber, raw);
    const areSubmitsFree = !gate.isLimited(subscriber.attachment.caller);
    const cost = messages.reduce(
      (sum, message) => sum + subscribers.costOf(subscriber, message, areSubmitsFree),
      0,
    );
    excess ??= this.count(subscriber, Math.max(0, cost - least));
    if (excess !== null) {
      if (subscriber.attachment.jobUlid !== null) {
        // At once: behind thousands of `ack` that wait, it would come only when the client has stopped.
        this.deps.runIfOpen((at) => subscribers.refuseFlood(subscriber, excess, at));
        return;
      }
      const waitsFor = () => this.late.get(subscriber) ?? null;
      await gate.pass(subscriber, { ...NOTHING, waitsFor }, () =>
        this.deps.runInOrder((at) => subscribers.refuseFlood(subscriber, excess, at)),
      );
      return;
    }
    if (raw === "ping") subscribers.onPing(subscriber, Date.now());
    const length = messageLength(raw) / messages.length;
    const waiting: Promise<void>[] = [];
    for (const message of messages) {
      // Most frames of a busy space: for each of them a promise and a turn cost as much as the submit itself.
      if (this.isFreeSubmit(subscriber, message)) {
        this.addSubscriberFrame(subscriber, message, length);
      } else waiting.push(this.onSubscriberFrame(subscriber, message, length));
    }
    if (waiting.length > 0) await Promise.all(waiting);
  }

  /** Whether it is a submit that nothing limits and that waits for no frame before it. */
  private isFreeSubmit(subscriber: SubscriberConnection, { decoded }: SubscriberMessage): boolean {
    if (!decoded.ok || decoded.frame.type !== "submit") return false;
    // A repeated one may have its job's whole past sent.
    if (decoded.frame.idempotency_key !== undefined) return false;
    return this.parts.gate.isOpen(subscriber) && !this.late.has(subscriber);
  }

  private addSubscriberFrame(
    subscriber: SubscriberConnection,
    message: SubscriberMessage,
    length: number,
  ): void {
    this.frames.onArrival(Date.now());
    this.deps.inbox.add((now) => {
      if (this.deps.isRetired()) return;
      this.deps.runStep(() => this.parts.subscribers.onFrame(subscriber, message, null, now), now);
    }, length);
  }

  /** Returns why the socket must be closed; `null` if it may send these frames, too. */
  private count(subscriber: SubscriberConnection, frames: number): string | null {
    if (frames === 0) return null;
    const { connections } = this.parts.core;
    return this.limits.count(subscriber, frames, connections.allowanceTime());
  }

  private join(step: BatchStep): Promise<void> {
    if (this.deps.isRetired()) return Promise.resolve();
    return this.deps.inbox.join((now) => {
      step(now);
      return NO_ANSWER;
    });
  }

  private onWorkerMessage(worker: WorkerConnection, raw: string | ArrayBuffer): void {
    this.parts.core.leases.renew(worker, Date.now());
    const couldTakeJobs = worker.reader.room > 0;
    const isNoFrame = this.parts.core.connections.onHeard(worker, raw);
    const length = messageLength(raw);
    const isDecodedLater = isNoFrame || length <= DECODED_LATER;
    const frames = isDecodedLater ? [] : this.parts.workers.decode(worker, raw);
    const cost = Math.max(1, frames.length, lengthCost(raw));
    const excess = this.limits.count(worker, cost, Date.now());
    if (excess !== null) {
      // At once: as long as it sends on, a timer may not come. What waits of it was not acknowledged, so it sends
      // that again.
      this.deps.runIfOpen((at) => this.parts.workers.refuseFlood(worker, excess, at));
      return;
    }
    // The batch hands out the jobs that waited for the worker to read.
    if (!couldTakeJobs) this.deps.inbox.add(() => undefined, 0);
    if (isNoFrame) return;
    if (isDecodedLater) {
      this.addWorkerFrames(worker, () => this.parts.workers.decode(worker, raw), length);
      return;
    }
    for (const frame of frames) {
      this.addWorkerFrames(worker, () => [frame], length / frames.length);
    }
  }

  /** @param read returns the frames; called only when it is their turn */
  private addWorkerFrames(worker: WorkerConnection, read: () => ReadFrame[], length: number): void {
    this.allowance.onFrame(Date.now());
    this.deps.inbox.add((now) => {
      if (this.deps.isRetired()) return;
      for (const frame of read()) {
        this.deps.runStep(() => this.parts.workers.onFrame(worker, frame, now), now);
      }
    }, length);
  }

  private onSubscriberFrame(
    connection: SubscriberConnection,
    message: SubscriberMessage,
    length: number,
  ): Promise<void> {
    const { subscribers, gate } = this.parts;
    const catchUpBytes = () => subscribers.catchUpBytes(connection, message);
    const isLate = isAnsweredLate(message);
    // Several of them in one batch are answered in their order (S9c).
    const waitsFor = () => (isLate ? null : (this.late.get(connection) ?? null));
    const frame = { jobs: isSubmit(message) ? 1 : 0, length, catchUpBytes, waitsFor } as const;
    if (!gate.hasRoom(connection, frame)) {
      return this.join((at) => subscribers.onFlood(connection, at));
    }
    return gate.pass(connection, frame, (refusal) => {
      if (this.deps.isRetired()) return Promise.resolve();
      this.frames.onArrival(Date.now());
      if (!isSubmit(message)) this.allowance.onFrame(Date.now());
      const answered = this.deps.inbox.join((now) => {
        this.parts.subscribers.onFrame(connection, message, refusal, now);
        return NO_ANSWER;
      }, length);
      if (isLate) this.rememberLate(connection, answered);
      return answered;
    });
  }

  private rememberLate(connection: SubscriberConnection, answered: Promise<void>): void {
    const settled = answered
      .catch(() => undefined)
      .then(() => {
        if (this.late.get(connection) === settled) this.late.delete(connection);
      });
    this.late.set(connection, settled);
  }

  /** Whether so many frames come that it is worth waiting for more. @param running how many jobs run */
  isBurst(running: number, now: number): boolean {
    return this.allowance.isExceeded || this.frames.isBurst(running, now);
  }

  /** Jobs were handed to workers: their first frames need not wait for others. */
  onDispatched(jobs: number): void {
    this.allowance.grant(jobs);
  }
}
