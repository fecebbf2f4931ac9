/** Thrown by a handler: why the job failed, and whether another attempt may go better. */
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
  /** Its submitter, or a limit of the space, ended the job. */
  | "canceled"
  /** The edge has taken the attempt back. */
  | "stale"
  /** The edge did not let this worker go on with it after a reconnect. */
  | "dropped"
  | "deadline"
  /** It was settled as failed while it ran: its output could not be sent. */
  | "failed"
  /** This worker ends. */
  | "stopped";

const ABORT_WORDS: Record<AbortCause, string> = {
  canceled: "the job was canceled",
  stale: "the attempt was taken back",
  dropped: "the attempt was given up after a reconnect",
  deadline: "the attempt was not finished by its deadline",
  failed: "the job failed already",
  stopped: "the worker is stopping",
};

/** The reason of a job's `signal`. */
export class JobAborted extends Error {
  override readonly name = "JobAborted";
  readonly why: AbortCause;

  constructor(why: AbortCause) {
    super(ABORT_WORDS[why]);
    this.why = why;
  }
}
