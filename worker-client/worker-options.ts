import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { LIMITS } from "../src/protocol/limits.ts";
import { spaceName } from "../src/protocol/values.ts";
import type { Backoff } from "./backoff.ts";
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
  /** The same over all reconnects; made from the host's name and a random part if not given. */
  workerId?: string;
  /** The name that is shown to people. */
  name?: string;
  version?: string;
  capabilities?: string[];
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
export function checkOptions({ url, space, token, concurrency = 1 }: RemoteWorkerOptions): void {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new InvalidOptions(`The edge's address must be an http: or https: URL, not "${url}".`);
  }
  if (new URL(url).pathname !== "/") {
    throw new InvalidOptions(
      `The edge's address must have no path, such as https://dialout.example, and not "${url}": an edge is served at the root of a host name.`,
    );
  }
  const parsed = spaceName.safeParse(space);
  if (!parsed.success) {
    throw new InvalidOptions(
      `The space's name ${parsed.error.issues[0]?.message ?? "is not valid"}.`,
    );
  }
  // Other characters can't be sent in a header.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new InvalidOptions("The token is empty or not a token.");
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > LIMITS.concurrency) {
    throw new InvalidOptions(
      `The concurrency must be a whole number from 1 to ${LIMITS.concurrency}.`,
    );
  }
}

/** Returns an id that no other process has, even on the same machine (W6a). */
export function defaultWorkerId(): string {
  return `${hostname().slice(0, 80) || "worker"}-${randomBytes(4).toString("hex")}`;
}
