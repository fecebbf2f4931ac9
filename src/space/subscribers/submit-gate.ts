import { Allowances, networkOf, retryText } from "../../objects/allowances.ts";
import type { Refusal } from "../../objects/reply.ts";
import { LIMITS } from "../../protocol/limits.ts";
import { TOO_MANY_SUBMITS } from "../calls.ts";
import type { SubscriberConnection } from "../connections.ts";

/** The platform's rate limiter for submits. */
export type SubmitCounter = Pick<RateLimit, "limit">;

/** Who submits: programs on the edge's own machine may have no limit. */
interface Submitter {
  operator: boolean;
  local?: boolean;
  address?: string;
}

/**
 * Counts the jobs of each address. The platform's counter is asked about every submit over a socket (decision 0026).
 * It answers asynchronously: what the same socket sends meanwhile waits, so that its frames are handled in the order
 * in which they came. The space's own count is of jobs, however many come in one request (decision 0042).
 */
export class SubmitGate {
  private readonly counter: SubmitCounter;
  private readonly localRights: boolean;
  private readonly jobs: Allowances;
  /** For each socket with waiting frames: resolves when its newest frame may be handled. */
  private readonly turns = new Map<SubscriberConnection, Promise<unknown>>();

  /**
   * @param localRights whether submitters on the machine of the edge are not limited
   * @param jobsPerMinute how many jobs an address may submit in the long run
   */
  constructor(counter: SubmitCounter, localRights: boolean, jobsPerMinute: number) {
    this.counter = counter;
    this.localRights = localRights;
    // A whole batch fits into what may come at once, so there is none that could never be submitted.
    const burst = Math.max(LIMITS.batchJobs, jobsPerMinute);
    this.jobs = new Allowances({ burst, perSecond: jobsPerMinute / 60 });
  }

  /**
   * Calls `handle` when it is this frame's turn, at once if neither the counter nor an earlier frame is waited
   * for; with the refusal if its jobs are too many.
   *
   * @param jobs how many jobs the frame submits, 0 or 1
   */
  pass<T>(
    subscriber: SubscriberConnection,
    jobs: 0 | 1,
    handle: (refusal: Refusal | null) => Promise<T>,
  ): Promise<T> {
    const before = this.turns.get(subscriber);
    const { attachment } = subscriber;
    const counter = jobs > 0 && this.isLimited(attachment) ? this.counter : null;
    if (before === undefined && counter === null) return handle(null);
    const turn = Promise.all([
      counter === null || isWithinLimit(counter, attachment.address),
      before,
    ]);
    this.turns.set(subscriber, turn);
    return turn.then(([isAllowed]) => {
      if (this.turns.get(subscriber) === turn) this.turns.delete(subscriber);
      if (!isAllowed) return handle(TOO_MANY_SUBMITS);
      return handle(counter === null ? null : this.take(attachment, jobs));
    });
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
