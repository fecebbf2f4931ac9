import type { z } from "zod";
import { LIMITS } from "../protocol/limits.ts";
import type {
  SpaceClientFrameInput,
  serverFrame,
  subscriberErrorFrame,
} from "../protocol/subscriber-frames.ts";
import { DialoutError } from "./errors.ts";

type ServerFrame = z.infer<typeof serverFrame>;
export type FollowedJobFrame = Extract<
  ServerFrame,
  { type: "connection" | "progress" | "output" | "gap" }
>;

/** One local follower of a job; several may follow the same job over the same socket. */
export interface JobSubscriber {
  /** The position to go on from; `null` to begin with a snapshot. */
  readonly since: string | null;
  onFrame(frame: FollowedJobFrame): void;
  onDisconnect(error: DialoutError | null): void;
  /** This socket does not carry the job for this follower, or no longer. */
  onRefused(error: DialoutError): void;
}

/** A `follow` that was sent and not answered yet. Followers that go on from the same position share it. */
interface Ask {
  ref: number;
  since: string | null;
  subscribers: JobSubscriber[];
}

interface FollowedJob {
  subscribers: Set<JobSubscriber>;
  /** Those whose `follow` was answered: they get the frames. */
  live: Set<JobSubscriber>;
  hasEnded: boolean;
}

const ENDS: readonly string[] = ["completed", "failed", "canceled"];

/**
 * The jobs that are followed over one socket of a space.
 *
 * Each follower asks for what comes after its own position, and is passed frames only from the answer to its own
 * `follow` on. Otherwise it would take the answer for another follower of the same job, who is further ahead, for its
 * own, and believe that what lies between was lost. The edge answers frames in their order (S9c), so the first answer
 * that has no `ref` belongs to the first `follow` of that job that is not answered yet. Followers who are ahead
 * see what the others are sent as well, and know from the offsets that they had it before.
 */
export class FollowedJobs {
  readonly #send: (frames: SpaceClientFrameInput[]) => void;
  readonly #jobs = new Map<string, FollowedJob>();
  /** By job, in the order sent. It stays when the followers leave: its answer still comes. */
  readonly #asks = new Map<string, Ask[]>();
  #places: number = LIMITS.followsPerSocket;
  #isUp = false;
  #refs = 0;

  constructor(send: (frames: SpaceClientFrameInput[]) => void) {
    this.#send = send;
  }

  get size(): number {
    return this.#jobs.size;
  }

  /** Whether one more follower of this job leaves the socket within the edge's limit (S12). */
  hasRoomFor(id: string): boolean {
    return this.#jobs.has(id) || this.size < this.#places;
  }

  add(id: string, subscriber: JobSubscriber): void {
    const job = this.#jobs.get(id);
    // A job that has ended is sent once more to somebody who comes later.
    if (job) job.subscribers.add(subscriber);
    else {
      const subscribers = new Set([subscriber]);
      this.#jobs.set(id, { subscribers, live: new Set(), hasEnded: false });
    }
    if (this.#isUp) this.#ask([[id, [subscriber]]]);
  }

  remove(id: string, subscriber: JobSubscriber): void {
    const job = this.#jobs.get(id);
    if (!job?.subscribers.delete(subscriber)) return;
    job.live.delete(subscriber);
    if (job.subscribers.size > 0) return;
    this.#jobs.delete(id);
    if (this.#isUp && !job.hasEnded) this.#send([{ type: "unfollow", job_id: id }]);
  }

  onConnect(): void {
    this.#isUp = true;
    this.#ask([...this.#jobs].map(([id, { subscribers }]) => [id, [...subscribers]]));
  }

  onDisconnect(error: DialoutError | null): void {
    this.#isUp = false;
    this.#asks.clear();
    for (const job of [...this.#jobs.values()]) {
      job.live.clear();
      for (const subscriber of [...job.subscribers]) subscriber.onDisconnect(error);
    }
  }

  /** The socket is closed for good. */
  onClose(error: DialoutError): void {
    this.#isUp = false;
    const all = [...this.#jobs.values()].flatMap(({ subscribers }) => [...subscribers]);
    this.#jobs.clear();
    this.#asks.clear();
    for (const subscriber of all) subscriber.onRefused(error);
  }

  onFrame(id: string, frame: FollowedJobFrame): void {
    if (frame.type === "connection") {
      this.#onAnswer(id, frame);
      return;
    }
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    if (frame.type === "progress" && ENDS.includes(frame.status)) job.hasEnded = true;
    for (const subscriber of [...job.live]) subscriber.onFrame(frame);
  }

  onError({ code, message, job_id, ref }: z.infer<typeof subscriberErrorFrame>): void {
    const id = job_id ?? this.#idOf(ref);
    const asks = id === undefined ? undefined : this.#asks.get(id);
    const index = asks?.findIndex((ask) => ask.ref === ref) ?? -1;
    const ask = asks?.[index];
    if (id === undefined || asks === undefined || ask === undefined) return;
    asks.splice(index, 1);
    if (asks.length === 0) this.#asks.delete(id);
    if (code === "too_many_follows") this.#places = Math.max(this.size - 1, 0);
    const refused = ask.subscribers.filter((subscriber) => this.#drop(id, subscriber));
    for (const subscriber of refused) subscriber.onRefused(new DialoutError(code, message));
  }

  #onAnswer(id: string, frame: FollowedJobFrame): void {
    const job = this.#jobs.get(id);
    const asks = this.#asks.get(id);
    const ask = asks?.shift();
    if (asks?.length === 0) this.#asks.delete(id);
    for (const subscriber of ask?.subscribers ?? []) {
      if (!job?.subscribers.has(subscriber)) continue;
      job.live.add(subscriber);
      subscriber.onFrame(frame);
    }
  }

  /** Takes out a follower whom the edge refused, so that there is nothing to unfollow. */
  #drop(id: string, subscriber: JobSubscriber): boolean {
    const job = this.#jobs.get(id);
    if (!job?.subscribers.delete(subscriber)) return false;
    if (job.subscribers.size === 0) this.#jobs.delete(id);
    return true;
  }

  #ask(wanted: [id: string, subscribers: JobSubscriber[]][]): void {
    const frames = wanted.flatMap(([id, subscribers]) =>
      subscribers.flatMap((subscriber) => this.#frameFor(id, subscriber)),
    );
    if (frames.length > 0) this.#send(frames);
  }

  /** The `follow` for a follower; none if one with the same position is under way. */
  #frameFor(id: string, subscriber: JobSubscriber): SpaceClientFrameInput[] {
    const { since } = subscriber;
    const asks = this.#asks.get(id) ?? [];
    this.#asks.set(id, asks);
    const last = asks.at(-1);
    const isSame = last !== undefined && last.since === since;
    // If nobody waits for that answer any more, an `unfollow` is behind it.
    if (isSame && last.subscribers.some((other) => this.#jobs.get(id)?.subscribers.has(other))) {
      last.subscribers.push(subscriber);
      return [];
    }
    this.#refs += 1;
    asks.push({ ref: this.#refs, since, subscribers: [subscriber] });
    const position = since === null ? {} : { since };
    return [{ type: "follow", job_id: id, ref: this.#refs, ...position }];
  }

  #idOf(ref: string | number | undefined): string | undefined {
    for (const [id, asks] of this.#asks) if (asks.some((ask) => ask.ref === ref)) return id;
    return undefined;
  }
}
