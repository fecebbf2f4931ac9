import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { WebSocket as Socket } from "ws";
import { DialoutClient, type Fetch, type WebSocketClass } from "../src/client/index.ts";
import { parseMessage } from "../src/protocol/exact-json.ts";
import { UsageError } from "./explain.ts";

/** Which edge, and as whom. */
export interface EdgeOptions {
  url: string;
  keyFile?: string;
  /** Seconds; only commands that follow a job have it. */
  heartbeat?: number;
}

export function addEdgeOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--url <url>", "address of the edge")
        .env("DIALOUT_URL")
        .default("http://127.0.0.1:8787"),
    )
    .option(
      "--key-file <path>",
      "a file with a key or a user's token; used instead of DIALOUT_KEY",
    );
}

export interface EdgeAccess {
  client: DialoutClient;
  /** Sends the key to the edge, and to nobody else. */
  fetch: Fetch;
  url: string;
}

/** @throws {UsageError} if the key can't be read */
export function accessTo({ url, keyFile, heartbeat: seconds }: EdgeOptions): EdgeAccess {
  const key = readKey(keyFile, process.env);
  const fetch = fetchWith(key);
  // What users sent is printed with every digit.
  const parseJson = parseMessage;
  const heartbeat = seconds === undefined ? undefined : seconds * 1_000;
  const WebSocket = socketWith(key);
  const client = new DialoutClient({ url, fetch, WebSocket, parseJson, heartbeat });
  return { client, fetch, url };
}

/**
 * The key, from a file or the environment and never from the command line, which other users of the machine can read.
 * `DIALOUT_TOKEN` counts too, unless it is a worker's, as on a machine that also serves a space.
 *
 * @throws {UsageError} if the file can't be read
 */
export function readKey(
  keyFile: string | undefined,
  env: Record<string, string | undefined>,
): string | null {
  if (keyFile === undefined) {
    const token = env.DIALOUT_TOKEN?.startsWith("dow_") ? undefined : env.DIALOUT_TOKEN;
    return checkedKey(env.DIALOUT_KEY || token || null, "DIALOUT_KEY");
  }
  try {
    return checkedKey(readFileSync(keyFile, "utf8").trim(), keyFile);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`the key file can't be read: ${why}`);
  }
}

function checkedKey(key: string | null, where: string): string | null {
  if (key === null || /^[\x21-\x7e]+$/.test(key)) return key;
  throw new UsageError(
    `the key in ${where} is empty, or has characters that no key has`,
    "give it as it was shown",
  );
}

/** `fetch` takes the header away when it is sent on to another origin. */
function fetchWith(key: string | null): Fetch {
  return (address, init) => {
    const headers = new Headers(init.headers);
    if (key !== null) headers.set("authorization", `Bearer ${key}`);
    return fetch(address, { ...init, headers });
  };
}

/** In a header, because a subprotocol can't hold every key, such as an operator's with a slash in it. */
function socketWith(key: string | null): WebSocketClass {
  return class extends Socket {
    constructor(address: string, protocols?: string[]) {
      const headers = key === null ? {} : { authorization: `Bearer ${key}` };
      super(address, protocols, { headers, perMessageDeflate: false });
    }
  };
}
