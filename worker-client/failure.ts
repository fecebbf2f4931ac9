/** A handler throws it to report why the job failed, and whether another attempt may succeed. */
export class JobFailure extends Error {
  override readonly name = "JobFailure";
  readonly code: string;
  readonly retryable: boolean;

  constructor(code: string, message: string, retryable = false) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export type AbortCause =
  /** The submitter or a limit of the space ended the job. */
  | "canceled"
  /** The edge took the attempt back. */
  | "stale"
  /** After a reconnect the edge did not let this worker continue the attempt. */
  | "dropped"
  /** The attempt ran past its deadline, and the edge had not canceled it. */
  | "deadline"
  /** The job failed while its handler was still running, because its output could not be sent. */
  | "failed"
  /** This worker is shutting down. */
  | "stopped";

const ABORT_MESSAGES: Record<AbortCause, string> = {
  canceled: "the job was canceled",
  stale: "the attempt was taken back",
  dropped: "the attempt was given up after a reconnect",
  deadline: "the attempt was not finished by its deadline",
  failed: "the job has already failed",
  stopped: "the worker is stopping",
};

/** The reason of a job's `signal`. */
export class JobAborted extends Error {
  override readonly name = "JobAborted";
  readonly why: AbortCause;

  constructor(why: AbortCause) {
    super(ABORT_MESSAGES[why]);
    this.why = why;
  }
}
