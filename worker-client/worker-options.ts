import { randomBytes } from "node:crypto";
import { describeIssues } from "../src/protocol/codec.ts";
import type { DeclaredSchema } from "../src/protocol/declared-schema.ts";
import { PLAIN_MESSAGES } from "../src/protocol/error-messages.ts";
import { LIMITS } from "../src/protocol/limits.ts";
import { spaceName } from "../src/protocol/values.ts";
import { registerFrame } from "../src/protocol/worker-frames.ts";
import { readDeclared } from "../src/schema/declared.ts";
import type { Backoff } from "./backoff.ts";
import { readEdgeAddress, whyNotAnAddress } from "./edge-address.ts";
import type { JobHandler } from "./job.ts";
import type { Log } from "./log.ts";

export interface RemoteWorkerOptions {
  /** The edge's address, such as `https://dialout.example`. */
  url: string;
  space: string;
  /** A worker token of the space. */
  token: string;
  handler: JobHandler;
  /** Jobs to run at once; 1 if not given. */
  concurrency?: number;
  /** The same over all reconnects; a random one if not given. Submitters see it. */
  workerId?: string;
  /** The name that is shown to people, submitters among them. */
  name?: string;
  version?: string;
  capabilities?: string[];
  /**
   * What jobs take and give, as JSON Schemas: the edge refuses inputs that don't fit, and the space's page makes its
   * form of it.
   */
  schema?: DeclaredSchema;
  /**
   * Whether to wait, and dial again and again, while other workers have every place of the space. If not, the
   * worker ends then.
   */
  waitForPlace?: boolean;
  log?: Log;
  backoff?: Backoff;
  /** Source of randomness for the back-off: from 0 up to, but not including, 1. */
  random?: () => number;
}

/** Thrown for invalid options; the message can be shown to the user. */
export class InvalidOptions extends TypeError {
  override readonly name = "InvalidOptions";
}

/** @throws {InvalidOptions} so that a mistake shows before the first connection */
export function checkOptions(options: RemoteWorkerOptions): void {
  const { url, space, token, concurrency = 1, workerId = "worker", name, version } = options;
  const wrongAddress = whyNotAnAddress(url);
  if (wrongAddress !== null) throw new InvalidOptions(wrongAddress);
  const address = readEdgeAddress(url);
  if (address.url !== url) {
    throw new InvalidOptions(
      `The edge's address is ${address.url}, without the path to a space: give the space as \`space\`.`,
    );
  }
  if (new URL(url).pathname !== "/") {
    throw new InvalidOptions(
      `The edge's address must have no path, such as https://dialout.example, and not "${url}": an edge is served at the root of a host name.`,
    );
  }
  const parsed = spaceName.safeParse(space);
  if (!parsed.success) {
    throw new InvalidOptions(
      `The space's name ${parsed.error.issues[0]?.message ?? "is not valid"}, not "${space.slice(0, 100)}".`,
    );
  }
  // Other characters can't be sent in a header.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new InvalidOptions(
      "The token is empty, or has characters that no token has: give it as `POST /api/spaces/<space>/tokens` answered it.",
    );
  }
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > LIMITS.concurrency) {
    throw new InvalidOptions(
      `The concurrency must be a whole number from 1 to ${LIMITS.concurrency}.`,
    );
  }
  const { capabilities } = options;
  const register = { type: "register", worker_id: workerId, name, version, capabilities };
  const checked = registerFrame.safeParse(register, PLAIN_MESSAGES);
  // The edge would close the connection for it.
  if (!checked.success) throw new InvalidOptions(`${describeIssues(checked.error)}.`);
  const read = options.schema === undefined ? null : readDeclared(options.schema);
  if (read?.ok === false) throw new InvalidOptions(read.message);
}

/**
 * Returns an id that no other process has, even on the same machine (W6a). Whoever may see a job sees the id of its
 * worker, so it has nothing of the machine, such as its name.
 */
export function defaultWorkerId(): string {
  return `worker-${randomBytes(8).toString("hex")}`;
}
