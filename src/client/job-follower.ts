import { type Edge, segment } from "./edge.ts";
import { EdgeSocket, PROBE } from "./edge-socket.ts";
import { asDialoutError, DialoutError } from "./errors.ts";
import type { JobSubscriber } from "./followed-jobs.ts";
import {
  cursorAt,
  isEnd,
  type JobChannelFrame,
  type JobCursor,
  type JobEvent,
  type JobProgress,
  jobFrame,
  readJobFrame,
  resumeFrom,
} from "./job-channel.ts";
import { type AnyJob, jobSchema } from "./job-resource.ts";
import { withAddresses } from "./output-files.ts";
import type { SpaceSocketPool } from "./space-socket-pool.ts";
import {
  callHandler,
  type LinkHandlers,
  OpenSubscription,
  type Subscription,
} from "./subscription.ts";

export interface JobEventHandlers extends LinkHandlers {
  onEvent(event: JobEvent): void;
}

export interface JobToFollow {
  edge: Edge;
  id: string;
  /** The sockets to spaces, if the job is to be followed over one of them; `null`: over a socket of its own. */
  sockets: SpaceSocketPool | null;
  /** The token of the link that opens the job; `null`: none does. A socket of a space takes none. */
  share: string | null;
  since?: string;
  signal?: AbortSignal;
}

/**
 * Follows a job to its end, across reconnects. Every event is delivered once and in order; events that
 * the edge no longer has are reported as a gap.
 */
export function followJob(job: JobToFollow, handlers: JobEventHandlers): Subscription {
  job.edge.requireWebSocket();
  // Refuses an id that no address can contain, before anything is registered.
  const path = `/api/jobs/${segment(job.id)}`;
  const subscription = new OpenSubscription(job.edge, handlers, job.signal);
  if (!subscription.isOver) new JobFollower(job, path, subscription, handlers).start();
  return subscription;
}

class JobFollower implements JobSubscriber {
  readonly #job: JobToFollow;
  readonly #path: string;
  readonly #subscription: OpenSubscription;
  readonly #handlers: JobEventHandlers;
  #cursor: JobCursor;
  /** How many sockets of the space had no room for the job although they should have had. */
  #refusals = 0;

  constructor(
    job: JobToFollow,
    path: string,
    subscription: OpenSubscription,
    handlers: JobEventHandlers,
  ) {
    this.#job = job;
    this.#path = path;
    this.#subscription = subscription;
    this.#handlers = handlers;
    this.#cursor = cursorAt(job.since);
  }

  get since(): string | null {
    return resumeFrom(this.#cursor);
  }

  /**
   * Somebody who goes on from a position may have had the end already. Only the job's own socket shows that: the edge
   * closes it.
   */
  start(): void {
    const { sockets, since } = this.#job;
    if (sockets !== null && since === undefined) this.#followOver(sockets);
    else this.#followAlone();
  }

  onFrame(frame: JobChannelFrame): void {
    if (frame.type === "connection") this.#subscription.link("open");
    const read = readJobFrame(this.#cursor, frame);
    this.#cursor = read.cursor;
    for (const event of read.events) {
      if (this.#subscription.isOver) return;
      callHandler(() => this.#handlers.onEvent(withAddresses(event, this.#job.edge)));
      if (isEnd(event)) this.#subscription.finish(null);
    }
  }

  onDisconnect(error: DialoutError | null): void {
    this.#subscription.link("lost", error);
  }

  /**
   * The socket of the space doesn't carry the job. Without the job or its space there is nothing to follow. Anything
   * else may be true of that socket alone, such as its limit, or that it needs other rights than the job's own.
   */
  onRefused({ code, message }: DialoutError): void {
    const { sockets } = this.#job;
    if (this.#subscription.isOver) return;
    this.#refusals += 1;
    if (["job_not_found", "space_not_found", "not_found"].includes(code)) {
      this.#subscription.finish(new DialoutError(code, message, { status: 404 }));
    } else if (code === "too_many_follows" && sockets !== null && this.#refusals === 1) {
      this.#followOver(sockets);
    } else this.#followAlone();
  }

  #followOver(sockets: SpaceSocketPool): void {
    this.#subscription.onStop(sockets.followJob(this.#job.id, this));
  }

  #followAlone(): void {
    const { edge, id, share } = this.#job;
    const headers = shareHeaders(share);
    const probe = () => edge.http.call({ path: this.#path, headers, ...PROBE }, jobSchema);
    const socket = new EdgeSocket(
      edge,
      {
        address: () => edge.socketAddress(`${this.#path}/ws`, { since: this.since, share }),
        // A backend job (its id has no dot) can be followed before it exists, so a 404 is no refusal.
        ...(id.includes(".") ? { probe } : {}),
      },
      {
        onOpen: () => this.#subscription.link("open"),
        onDisconnect: (error) => this.onDisconnect(error),
        onFrame: (frame) => {
          const read = jobFrame.safeParse(frame);
          if (read.success) this.onFrame(read.data);
        },
        onClose: (error) => {
          if (error !== null) this.#subscription.finish(error);
          else void this.#deliverStoredEnd();
        },
      },
    );
    this.#subscription.onStop(() => socket.close());
  }

  /**
   * The job ended before the position that the follower resumes from, so its socket did not send the end. Fetches the
   * end over HTTP, and tries again until that succeeds or the follower is closed.
   */
  async #deliverStoredEnd(): Promise<void> {
    const subscription = this.#subscription;
    let error: DialoutError | null = null;
    const stop = new AbortController();
    subscription.onStop(() => stop.abort());
    const { signal } = stop;
    const headers = shareHeaders(this.#job.share);
    const call = { path: this.#path, headers, timeout: Number.POSITIVE_INFINITY, signal };
    try {
      const end = endEventOf(await this.#job.edge.http.call(call, jobSchema), this.since ?? "");
      const addressed = withAddresses(end, this.#job.edge);
      if (!subscription.isOver) callHandler(() => this.#handlers.onEvent(addressed));
    } catch (cause) {
      error = asDialoutError(cause, "unreachable");
    }
    subscription.finish(error);
  }
}

/** What opens a job to whoever has a link to it. */
export function shareHeaders(share: string | null): Record<string, string> {
  return share === null ? {} : { "job-share": share };
}

/** Builds the job's last event from its HTTP resource. */
function endEventOf(job: AnyJob, position: string): JobProgress {
  const { id: job_id, status, progress, estimated_remaining, message, attempt, outputs } = job;
  return {
    type: "progress",
    job_id,
    status,
    progress,
    estimated_remaining,
    message,
    output_path: "output_path" in job ? job.output_path : null,
    queue_position: job.queue_position,
    attempt,
    ...(status === "completed" ? { result: job.result } : {}),
    ...(job.error ? { error: job.error } : {}),
    ...(outputs.length > 0 ? { outputs } : {}),
    offset: Number(position.split(":")[1] ?? 0),
    timestamp: job.updated_at,
    position,
  };
}
