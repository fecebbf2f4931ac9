import { Allowances, networkOf, retryText } from "../../objects/allowances.ts";
import type { CatchUpPace } from "../../objects/catch-up-pace.ts";
import type { Refusal } from "../../objects/reply.ts";
import { LIMITS } from "../../protocol/limits.ts";
import { TOO_MANY_SUBMITS } from "../calls.ts";
import type { SubscriberConnection } from "../connections.ts";

/** The platform's rate limiter for submits. */
export type SubmitCounter = Pick<RateLimit, "limit">;

/** What the gate must know of a frame. */
export interface GatedFrame {
  /** How many jobs it submits. */
  jobs: 0 | 1;
  /** The frame's length, characters: it is in memory while it waits. */
  length: number;
  /** About how many bytes the frame makes the edge send so that the subscriber can catch up with a job. */
  catchUpBytes: () => number;
  /** Resolves when the answers are sent that must come before this frame's; `null` if there are none. */
  waitsFor: () => Promise<void> | null;
}

/** For a close or a refusal: it comes after the frames before it, and causes nothing that must be limited. */
export const NOTHING: GatedFrame = {
  jobs: 0,
  length: 0,
  catchUpBytes: () => 0,
  waitsFor: () => null,
};

/** Who submits: programs on the edge's own machine may have no limit. */
interface Submitter {
  operator: boolean;
  local?: boolean;
  address?: string;
}

interface SubmitGateOptions {
  counter: SubmitCounter;
  /** Whether submitters on the machine of the edge are not limited. */
  localRights: boolean;
  /** How many jobs an address may submit in the long run. */
  jobsPerMinute: number;
  pace: CatchUpPace<SubscriberConnection>;
}

/**
 * Counts the jobs of each address, and lets a frame that has a job's past sent wait until the socket may be sent more
 * (decision 0041). The platform's counter is asked about every submit over a socket (decision 0026). It answers
 * asynchronously: what the same socket sends meanwhile waits, so that its frames are handled in the order in which
 * they came. The space's own count is of jobs, however many come in one request (decision 0042).
 */
export class SubmitGate {
  private readonly counter: SubmitCounter;
  private readonly localRights: boolean;
  private readonly pace: CatchUpPace<SubscriberConnection>;
  private readonly jobs: Allowances;
  /** For each socket with waiting frames: resolves when its newest frame may be handled. */
  private readonly turns = new Map<SubscriberConnection, Promise<unknown>>();
  /** The length of each socket's waiting frames together, characters. */
  private readonly waiting = new Map<SubscriberConnection, number>();

  constructor({ counter, localRights, jobsPerMinute, pace }: SubmitGateOptions) {
    this.counter = counter;
    this.localRights = localRights;
    this.pace = pace;
    // A whole batch fits into what may come at once, so there is none that could never be submitted.
    const burst = Math.max(LIMITS.batchJobs, jobsPerMinute);
    this.jobs = new Allowances({ burst, perSecond: jobsPerMinute / 60 });
  }

  /** Whether a frame may wait, too: a socket that sends on and on without its frames being handled must be closed. */
  hasRoom(subscriber: SubscriberConnection, { length }: GatedFrame): boolean {
    return (this.waiting.get(subscriber) ?? 0) + length <= LIMITS.unansweredLength;
  }

  /**
   * Calls `handle` when it is this frame's turn, at once if neither the counter, nor room for what it causes, nor an
   * earlier frame is waited for; with the refusal if its jobs are too many.
   */
  pass<T>(
    subscriber: SubscriberConnection,
    frame: GatedFrame,
    handle: (refusal: Refusal | null) => Promise<T>,
  ): Promise<T> {
    const before = this.turns.get(subscriber);
    const { attachment } = subscriber;
    const counter = frame.jobs > 0 && this.isLimited(attachment) ? this.counter : null;
    let turn: Promise<boolean>;
    if (before === undefined && counter === null) {
      const slowed = this.enter(subscriber, frame);
      if (slowed === null) return handle(null);
      turn = slowed.then(() => true);
    } else {
      const isAllowed = counter === null || isWithinLimit(counter, attachment.address);
      turn = this.turnOf(subscriber, frame, isAllowed, before);
    }
    this.turns.set(subscriber, turn);
    this.count(subscriber, frame.length);
    return turn.then((isAllowed) => {
      this.count(subscriber, -frame.length);
      if (this.turns.get(subscriber) === turn) this.turns.delete(subscriber);
      if (!isAllowed) return handle(TOO_MANY_SUBMITS);
      return handle(counter === null ? null : this.take(attachment, frame.jobs));
    });
  }

  /** Call this when a socket has closed: what it sent before is handled soon, but it is not sent anything more. */
  forget(subscriber: SubscriberConnection): void {
    this.pace.forget(subscriber);
  }

  isLimited({ operator, local = false }: Submitter): boolean {
    return !operator && !(local && this.localRights);
  }

  /** Counts the jobs for their address, all of them or, if they are too many, none. Returns why they are refused. */
  take(submitter: Submitter, jobs: number): Refusal | null {
    if (!this.isLimited(submitter)) return null;
    const key = networkOf(submitter.address ?? "unknown");
    const waitS = this.jobs.take(key, jobs, Date.now());
    if (waitS === 0) return null;
    const detail = `Too many jobs from your address: ${retryText(waitS)}. The operator's key has no limit.`;
    return { ok: false, code: "rate_limited", detail, retryAfterS: waitS };
  }

  private async turnOf(
    subscriber: SubscriberConnection,
    frame: GatedFrame,
    isAllowed: boolean | Promise<boolean>,
    before: Promise<unknown> | undefined,
  ): Promise<boolean> {
    const [allowed] = await Promise.all([isAllowed, before]);
    const slowed = this.enter(subscriber, frame);
    if (slowed !== null) await slowed;
    return allowed;
  }

  private enter(
    subscriber: SubscriberConnection,
    { catchUpBytes, waitsFor }: GatedFrame,
  ): Promise<void> | null {
    const bytes = this.pace.isGone(subscriber) ? 0 : catchUpBytes();
    const slowed = bytes === 0 ? null : this.pace.enter(subscriber, bytes);
    const earlier = waitsFor();
    if (earlier === null || slowed === null) return earlier ?? slowed;
    return Promise.all([earlier, slowed]).then(() => undefined);
  }

  private count(subscriber: SubscriberConnection, length: number): void {
    const sum = (this.waiting.get(subscriber) ?? 0) + length;
    if (sum > 0) this.waiting.set(subscriber, sum);
    else this.waiting.delete(subscriber);
  }
}

/** Asks the counter. If it fails, the submit passes. */
async function isWithinLimit(counter: SubmitCounter, key: string): Promise<boolean> {
  try {
    return (await counter.limit({ key })).success;
  } catch (error) {
    console.error("the counter of submits failed", error);
    return true;
  }
}
