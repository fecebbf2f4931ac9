import { inspect } from "node:util";
import type { z } from "zod";
import type { Json, JsonObject } from "../src/protocol/codec.ts";
import { LIMITS } from "../src/protocol/limits.ts";
import type {
  ackFrame,
  deadlineFrame,
  errorFrame,
  WorkerFrameInput,
} from "../src/protocol/worker-frames.ts";
import {
  type Attempt,
  type AttemptRef,
  checkPercent,
  encodeProgress,
  keyOf,
  newAttempt,
  replay,
  withCompletion,
} from "./attempt.ts";
import { type Completion, completionOf, type HandlerOutcome } from "./completion.ts";
import { encodeFile, encodeOutput } from "./encode.ts";
import { type AbortCause, JobFailure } from "./failure.ts";
import { createJob, type Job, type JobHandler } from "./job.ts";
import type { Log } from "./log.ts";
import type { ReceivedJob } from "./received-frames.ts";
import { Runner } from "./runner.ts";
import type { RegisteredFrame } from "./session.ts";
import type { Statistics } from "./statistics.ts";

export interface JobsOptions {
  concurrency: number;
  handler: JobHandler;
  edgeUrl: string;
  log: Log;
  /** Sends at once, or drops the frame while not registered; `resume` sends what was dropped. */
  send(text: string): void;
  /** Called whenever no attempt is held any more. */
  onEmpty(): void;
}

/** The edge normally enforces the deadline first; this is in case its `cancel` does not arrive. */
const DEADLINE_SLACK_MS = 1_000;

/** The attempts that this worker holds, each from its `job` frame to its `ack`, across connections. */
export class Jobs {
  readonly #options: JobsOptions;
  readonly #runner: Runner;
  readonly #held = new Map<string, Attempt>();
  readonly #counts = { received: 0, completed: 0, failed: 0, canceled: 0, rejected: 0, stale: 0 };
  #frameLimit: number = LIMITS.frameBytes;
  #clockAheadMs = 0;
  #rejectReason: string | null = null;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#runner = new Runner(options.concurrency);
  }

  get size(): number {
    return this.#held.size;
  }

  /** How many attempts have ended here, but are not acknowledged yet. */
  get unacknowledged(): number {
    return [...this.#held.values()].filter(({ phase }) => phase === "ended").length;
  }

  get counts(): Statistics["jobs"] {
    return { ...this.#counts, held: this.#held.size };
  }

  get busyS(): number {
    return this.#runner.busySeconds();
  }

  /** The attempts to list in `register`: running ones first, as the edge limits the length of the list. */
  get resumable(): AttemptRef[] {
    const attempts = [...this.#held.values()].sort(
      (a, b) => Number(a.phase === "ended") - Number(b.phase === "ended"),
    );
    return attempts.map(({ ref }) => ref).slice(0, LIMITS.concurrency);
  }

  /** Rejects all jobs that arrive from now on, so that they go back to the queue. */
  rejectNew(reason: string): void {
    this.#rejectReason ??= reason;
  }

  /** Corrects deadlines for this machine's clock, which may be hours off the edge's. */
  setEdgeTime(edgeTime: Date): void {
    const aheadMs = Date.now() - edgeTime.getTime();
    // The `date` header has a resolution of one second, so smaller differences mean nothing.
    this.#clockAheadMs = Math.abs(aheadMs) > 2_000 ? aheadMs : 0;
  }

  onJob(frame: ReceivedJob): void {
    const { log } = this.#options;
    const ref = { job_id: frame.job_id, attempt: frame.attempt };
    if (this.#held.has(keyOf(ref))) {
      this.#sendFrame({ type: "accept", ...ref });
      return;
    }
    this.#counts.received += 1;
    for (const older of [...this.#held.values()]) {
      if (older.ref.job_id === ref.job_id) this.#giveUp(older.ref, "stale");
    }
    const urls = frame.files.map(({ url }) => url);
    const attempt = newAttempt(ref, urls, frame.outputs?.url);
    this.#held.set(keyOf(ref), attempt);
    const reason = this.#rejectReason ?? this.#overloadReason();
    if (reason !== null) {
      this.#complete(attempt, { type: "reject", reason });
      return;
    }
    this.#sendFrame({ type: "accept", ...ref });
    log.info(`job ${frame.job_id}: attempt ${frame.attempt} received`);
    if (this.#start(frame, attempt) === "waiting") {
      log.info(`job ${frame.job_id}: waiting until an aborted job has ended`);
    }
  }

  onAck({ job_id, attempt, of }: z.infer<typeof ackFrame>): void {
    const held = this.#held.get(keyOf({ job_id, attempt }));
    if (held?.phase !== "ended" || held.completion.of !== of) return;
    if (of === "result") this.#counts.completed += 1;
    else if (of === "reject") this.#counts.rejected += 1;
    else if (held.completion.canceled) this.#counts.canceled += 1;
    else this.#counts.failed += 1;
    this.#forget(held.ref);
  }

  onStale(ref: AttemptRef): void {
    if (!this.#held.has(keyOf(ref))) return;
    this.#options.log.warn(`job ${ref.job_id}: attempt ${ref.attempt} was taken back`);
    this.#giveUp(ref, "stale");
  }

  onCancel(ref: AttemptRef & { reason: string }): void {
    const held = this.#held.get(keyOf(ref));
    if (held?.phase === "ended") return;
    this.#options.log.info(`job ${ref.job_id}: cancel (${ref.reason})`);
    if (held !== undefined) {
      this.#runner.abort(keyOf(ref), "canceled");
      return;
    }
    // The attempt isn't held, so nothing runs here; the edge still waits for an answer.
    const message = "this worker does not hold the attempt";
    this.#sendFrame({
      type: "fail",
      job_id: ref.job_id,
      attempt: ref.attempt,
      code: "canceled",
      message,
    });
  }

  /**
   * Call this when the connection is lost. While the edge can't be reached, no attempt is aborted at its
   * deadline: time in which the edge was away doesn't count, and only the edge knows whether it was (W26b).
   */
  onDisconnect(): void {
    this.#runner.pauseDeadlines();
  }

  /** Sends what the edge still lacks after a reconnect, and gives up the attempts it dropped. */
  resume({ resumed, dropped }: RegisteredFrame, frameLimit: number): void {
    this.#frameLimit = frameLimit;
    const unmentioned = new Map(this.#held);
    for (const entry of resumed) {
      unmentioned.delete(keyOf(entry));
      const held = this.#held.get(keyOf(entry));
      if (held === undefined) continue;
      this.#moveDeadline(held, entry);
      this.#replay(held, entry.outputs);
    }
    for (const ref of dropped) {
      unmentioned.delete(keyOf(ref));
      if (ref.of !== undefined) this.onAck({ type: "ack", ...ref, of: ref.of });
      if (this.#held.has(keyOf(ref))) this.#giveUp(ref, "dropped");
    }
    for (const held of unmentioned.values()) {
      // `register` may have had no room for this ended attempt; the edge answers with `ack` or `stale`.
      if (held.phase === "ended") this.#options.send(held.completion.text);
      else this.#giveUp(held.ref, "dropped");
    }
  }

  /** The edge stood still, and the attempt has more time (W15a). */
  onDeadline(frame: z.infer<typeof deadlineFrame>): void {
    const held = this.#held.get(keyOf(frame));
    if (held !== undefined) this.#moveDeadline(held, frame);
  }

  /** If an `output` named a file that the edge doesn't have, it must not be sent again: it isn't counted (W36g). */
  onError({ job_id, attempt, file }: z.infer<typeof errorFrame>): void {
    if (job_id === undefined || attempt === undefined || file === undefined) return;
    this.#held.get(keyOf({ job_id, attempt }))?.outputs.forgetFile(file);
  }

  /** Aborts every running handler; what they return is no longer sent. */
  stop(): void {
    this.#runner.abortAll("stopped");
  }

  #moveDeadline(held: Attempt, moved: { deadline?: string; file_urls?: string[] }): void {
    const { deadline, file_urls } = moved;
    this.#runner.setDeadline(
      keyOf(held.ref),
      deadline === undefined ? undefined : this.#deadlineOf(deadline),
    );
    held.fileUrls = file_urls ?? held.fileUrls;
  }

  /** A time of the edge's clock on this machine's, milliseconds; `null` if it can't be read. */
  #deadlineOf(edgeTime: string): number | null {
    const deadline = Date.parse(edgeTime) + this.#clockAheadMs + DEADLINE_SLACK_MS;
    return Number.isNaN(deadline) ? null : deadline;
  }

  #overloadReason(): string | null {
    const busy = [...this.#held.values()].filter(
      (held) => held.phase === "running" && !this.#runner.isAborted(keyOf(held.ref)),
    );
    // The new attempt is already counted in `busy`.
    return busy.length > this.#options.concurrency ? "all slots are taken" : null;
  }

  #start(frame: ReceivedJob, { ref }: Attempt): "started" | "waiting" {
    const key = keyOf(ref);
    let metrics: JsonObject | undefined;
    const startedAt = performance.now();
    return this.#runner.start({
      key,
      deadlineAt: this.#deadlineOf(frame.deadline),
      perform: (signal) =>
        this.#options.handler(
          createJob(frame, {
            signal,
            edgeUrl: this.#options.edgeUrl,
            fileUrl: (index) => this.#held.get(key)?.fileUrls[index] ?? "",
            deadlineAt: () => this.#runner.deadlineOf(key),
            log: this.#options.log,
            progress: (...report) => this.#progress(key, ...report),
            output: (delta) => this.#output(key, delta),
            uploadUrl: () => this.#held.get(key)?.uploadUrl ?? null,
            onFile: (name, told) => this.#onFile(key, name, told),
            metrics: (reported) => {
              metrics = reported;
            },
          }),
        ),
      onEnd: (outcome, cause) => {
        const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
        this.#onEnd(key, outcome, cause, metrics, seconds);
      },
    });
  }

  #onEnd(
    key: string,
    outcome: HandlerOutcome,
    cause: AbortCause | null,
    metrics: JsonObject | undefined,
    seconds: string,
  ): void {
    const held = this.#held.get(key);
    if (held?.phase !== "running" || cause === "stopped") return;
    if (outcome.type === "threw" && cause === null) this.#logError(held.ref, outcome.error);
    const completion = completionOf(outcome, cause, () => held.outputs.joined());
    const files = held.untold.length === 0 ? undefined : [...held.untold];
    const whole = completion.type === "result" ? { ...completion, metrics, files } : completion;
    this.#complete(held, whole, ` after ${seconds} s`);
  }

  /** Logs an error that is no `JobFailure` with where it comes from: the submitter is told less, or nothing of it. */
  #logError({ job_id }: AttemptRef, error: unknown): void {
    if (error instanceof JobFailure) return;
    this.#options.log.error(`job ${job_id}: ${inspect(error)}`);
  }

  #progress(key: string, ...[percent, message, remainingS]: Parameters<Job["progress"]>): void {
    const held = this.#held.get(key);
    if (held?.phase !== "running") return;
    checkPercent(percent);
    const text = encodeProgress(held.ref, percent, message, remainingS, this.#frameLimit);
    if (text === null) return;
    held.progress = text;
    this.#options.send(text);
  }

  #output(key: string, delta: Json): void {
    const held = this.#held.get(key);
    if (held?.phase !== "running" || delta === "") return;
    const encoding = encodeOutput(held.ref, delta, this.#frameLimit);
    if (!encoding.ok) {
      const failure = new JobFailure("worker_error", `A piece of output ${encoding.message}.`);
      this.#fail(held, failure.message);
      throw failure;
    }
    for (const frame of encoding.frames) {
      held.outputs.append(frame);
      this.#options.send(frame.text);
    }
  }

  #onFile(key: string, name: string, { preview, tell }: { preview: boolean; tell: boolean }): void {
    const held = this.#held.get(key);
    if (held?.phase !== "running") return;
    if (!tell) {
      if (!held.untold.includes(name)) held.untold = [...held.untold, name];
      return;
    }
    const frame = encodeFile(held.ref, name, preview);
    held.outputs.append(frame);
    this.#options.send(frame.text);
  }

  #replay(held: Attempt, stored: number): void {
    const missing = replay(held, stored, this.#frameLimit);
    if (missing.type === "unsendable") {
      this.#fail(held, missing.message);
      return;
    }
    if (missing.lost > 0) {
      this.#options.log.warn(`job ${held.ref.job_id}: ${missing.lost} pieces of output were lost`);
    }
    for (const text of missing.texts) this.#options.send(text);
  }

  #fail(held: Attempt, message: string): void {
    this.#complete(held, { type: "fail", code: "worker_error", message, retryable: false });
    this.#runner.abort(keyOf(held.ref), "failed");
  }

  #complete(held: Attempt, completion: Completion, after = ""): void {
    const done = withCompletion(held, completion, this.#frameLimit);
    this.#held.set(keyOf(held.ref), done);
    this.#options.log.info(`job ${held.ref.job_id}: ${done.completion.summary}${after}`);
    this.#options.send(done.completion.text);
  }

  #giveUp(ref: AttemptRef, cause: "stale" | "dropped"): void {
    this.#counts.stale += 1;
    this.#forget(ref);
    this.#runner.abort(keyOf(ref), cause);
  }

  #forget(ref: AttemptRef): void {
    this.#held.delete(keyOf(ref));
    if (this.#held.size === 0) this.#options.onEmpty();
  }

  #sendFrame(frame: WorkerFrameInput): void {
    this.#options.send(JSON.stringify(frame));
  }
}
