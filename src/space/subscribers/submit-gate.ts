import type { Caller } from "../../auth/caller.ts";
import { Allowances, byWhom, countedAs, retryText } from "../../objects/allowances.ts";
import type { CatchUpPace } from "../../objects/catch-up-pace.ts";
import type { Refusal } from "../../objects/reply.ts";
import { LIMITS } from "../../protocol/limits.ts";
import { tooManySubmits } from "../calls.ts";
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

interface SubmitGateOptions {
  counter: SubmitCounter;
  /** Whether submitters on the machine of the edge are not limited. */
  localRights: boolean;
  /** How many jobs an address, user or key may submit in the long run. */
  jobsPerMinute: number;
  /** How many an address may that nobody is known at; `null`: as many. */
  anonymousPerMinute: () => number | null;
  pace: CatchUpPace<SubscriberConnection>;
}

/**
 * Counts the jobs of each address, user or key, and lets a frame that has a job's past sent wait until the socket may be sent more
 * (decision 0041). The platform's counter is asked about every submit over a socket (decision 0026). It answers
 * asynchronously: what the same socket sends meanwhile waits, so that its frames are handled in the order in which
 * they came. The space's own count is of jobs, however many come in one request (decision 0042).
 */
export class SubmitGate {
  private readonly counter: SubmitCounter;
  private readonly localRights: boolean;
  private readonly pace: CatchUpPace<SubscriberConnection>;
  private readonly jobs: Allowances;
  private readonly anonymousPerMinute: () => number | null;
  /** Counts the jobs of nobody that is known, where the space has a limit for them. */
  private anonymous: { perMinute: number; jobs: Allowances } | null = null;
  /** For each socket with waiting frames: resolves when its newest frame may be handled. */
  private readonly turns = new Map<SubscriberConnection, Promise<unknown>>();
  /** The length of each socket's waiting frames together, characters. */
  private readonly waiting = new Map<SubscriberConnection, number>();

  constructor(options: SubmitGateOptions) {
    const { counter, localRights, jobsPerMinute, anonymousPerMinute, pace } = options;
    this.anonymousPerMinute = anonymousPerMinute;
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
    const counter = frame.jobs > 0 && this.isLimited(attachment.caller) ? this.counter : null;
    let turn: Promise<boolean>;
    if (before === undefined && counter === null) {
      const slowed = this.enter(subscriber, frame);
      if (slowed === null) return handle(this.take(attachment.caller, frame.jobs));
      turn = slowed.then(() => true);
    } else {
      const isAllowed = counter === null || isWithinLimit(counter, countedAs(attachment.caller));
      turn = this.turnOf(subscriber, frame, isAllowed, before);
    }
    this.turns.set(subscriber, turn);
    this.count(subscriber, frame.length);
    return turn.then((isAllowed) => {
      this.count(subscriber, -frame.length);
      if (this.turns.get(subscriber) === turn) this.turns.delete(subscriber);
      if (!isAllowed) return handle(tooManySubmits(attachment.caller));
      return handle(this.take(attachment.caller, frame.jobs));
    });
  }

  /** Call this when a socket has closed: what it sent before is handled soon, but it is not sent anything more. */
  forget(subscriber: SubscriberConnection): void {
    this.pace.forget(subscriber);
  }

  isLimited({ isAdmin, local }: Caller): boolean {
    return !isAdmin && !(local && this.localRights);
  }

  /** Whether a submit of this socket would pass at once, without being counted. */
  isOpen(subscriber: SubscriberConnection): boolean {
    const { caller } = subscriber.attachment;
    return !(this.turns.has(subscriber) || this.isLimited(caller) || this.isCounted(caller));
  }

  /** Whether the space has a limit for those that nobody is known at, and this is one of them. */
  private isCounted({ isAdmin, userId }: Caller): boolean {
    return !isAdmin && userId === null && this.anonymousPerMinute() !== null;
  }

  /** Counts the jobs for their submitter, all of them or, if they are too many, none. Returns why they are refused. */
  take(submitter: Caller, jobs: number): Refusal | null {
    const isCounted = this.isCounted(submitter);
    const isLimited = this.isLimited(submitter);
    if (jobs === 0 || !(isCounted || isLimited)) return null;
    const key = countedAs(submitter);
    const refusal = isCounted ? this.takeAnonymous(key, jobs) : null;
    if (refusal !== null || !isLimited) return refusal;
    const waitS = this.jobs.take(key, jobs, Date.now());
    if (waitS === 0) return null;
    const detail = `Too many jobs ${byWhom(key)}: ${retryText(waitS)}. The operator's key has no limit.`;
    return { ok: false, code: "rate_limited", detail, retryAfterS: waitS };
  }

  /** Counts also the jobs of the edge's own machine: the space's owner set the limit for everybody. */
  private takeAnonymous(key: string, jobs: number): Refusal | null {
    const perMinute = this.anonymousPerMinute();
    if (perMinute === null) return null;
    if (this.anonymous?.perMinute !== perMinute) {
      const rate = { burst: perMinute, perSecond: perMinute / 60 };
      this.anonymous = { perMinute, jobs: new Allowances(rate) };
    }
    const waitS = this.anonymous.jobs.take(key, jobs, Date.now());
    if (waitS === 0) return null;
    const detail =
      jobs > perMinute
        ? `Without signing in you may submit ${perMinute} jobs a minute to this space: send fewer at once, or sign in.`
        : `Without signing in you may submit ${perMinute} jobs a minute to this space: ${retryText(waitS)}, or sign in.`;
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
