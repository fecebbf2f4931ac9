import { DialoutError } from "../src/client/index.ts";
import { PROBLEMS } from "../src/protocol/codes.ts";
import { EXIT } from "./exit-code.ts";
import { oneLine } from "./terminal-text.ts";

/** Something that the user can put right; nothing was sent. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** What to do. */
  readonly help: string | null;

  constructor(message: string, help: string | null = null) {
    super(message);
    this.help = help;
  }
}

/** What is printed about an error, and how the program ends. */
export interface Explanation {
  message: string;
  /** What to do, a line each. */
  help: string[];
  exitCode: number;
}

const DOCTOR = "`dialout doctor` says what is wrong";

/** What to do about the edge's refusals and the client's errors. */
const HELP: Record<string, string> = {
  worker_not_connected:
    "start a worker of the space (dialout-worker), or let jobs wait: the space's setting `offline`",
  space_not_found: "`dialout spaces` lists those that you may use",
  job_not_found: "check the id; a job that is somebody else's, or was erased, is not found either",
  not_authenticated: "set DIALOUT_KEY to a key or a user's token, or name its file with --key-file",
  not_allowed: "a key of your own is made on the edge's page /account",
  queue_full: "try again when jobs have ended",
  prompt_not_enabled: "send what the space takes with --field and --file",
  file_upload_not_enabled: "the space's owner can allow files in its settings",
  payload_too_large: "send large data as a file, with --file",
  idempotency_key_reused: "use another --idempotency-key for another job",
  job_exists: "use another id",
  invalid_url: "give the address of the edge with --url or DIALOUT_URL",
  invalid_token: "give the key as it was shown, with DIALOUT_KEY or --key-file",
  unreachable: DOCTOR,
  timed_out: DOCTOR,
  not_an_edge: DOCTOR,
  wrong_scheme: DOCTOR,
  socket_refused: DOCTOR,
  malformed_answer: "the edge and this program may be of different versions",
};

/** Errors of the client that mean that nothing was sent. */
const USAGE: ReadonlySet<string> = new Set(["invalid_url", "invalid_token", "invalid_option"]);

export function explain(error: unknown): Explanation {
  if (error instanceof UsageError) {
    return {
      message: error.message,
      help: error.help === null ? [] : [error.help],
      exitCode: EXIT.usage,
    };
  }
  if (!(error instanceof DialoutError)) {
    const message = error instanceof Error ? error.message : String(error);
    return { message: `unexpected: ${message}`, help: [], exitCode: EXIT.internal };
  }
  const { code, errors, retryAfterMs, idempotencyKey } = error;
  const details = errors.map(({ path, message }) => `${path || "/"}: ${message}`);
  // The message often has them already.
  const help = details.filter((detail) => !error.message.includes(detail));
  if (HELP[code] !== undefined) help.push(HELP[code]);
  if (retryAfterMs !== null) help.push(`try again in ${Math.ceil(retryAfterMs / 1_000)} s`);
  if (idempotencyKey !== null) help.push(submitAgain(idempotencyKey));
  return {
    message: oneLine(error.message),
    help: help.map((line) => oneLine(line)),
    exitCode: exitCodeOf(error),
  };
}

/** Without an answer the job may exist, and with the same key there is no second one. */
export function submitAgain(idempotencyKey: string): string {
  return `the job may have been submitted: to go on without a second one, add --idempotency-key ${idempotencyKey}`;
}

function exitCodeOf({ code, status }: DialoutError): number {
  if (USAGE.has(code) || (code === "invalid_request" && status === null)) return EXIT.usage;
  // A refusal over a socket has no status; one of 500 and more says that the edge can't serve anybody now.
  const isRefusal = Object.hasOwn(PROBLEMS, code) && (status ?? 400) < 500;
  return isRefusal ? EXIT.refused : EXIT.unreachable;
}
