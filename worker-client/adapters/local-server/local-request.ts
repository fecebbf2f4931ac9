import { type IncomingMessage, type OutgoingHttpHeaders, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export interface LocalRequest {
  method?: "GET" | "POST";
  headers?: OutgoingHttpHeaders;
  /** A stream is sent in pieces as they are read; give its `content-length` if it is known. */
  body?: string | Readable;
  signal?: AbortSignal;
  /** How long nothing may come, milliseconds; without it as long as it takes: a model may compute for an hour. */
  silenceMs?: number;
}

export interface LocalAnswer {
  status: number;
  headers: IncomingMessage["headers"];
  /** Aborted with the request's signal. */
  body: IncomingMessage;
}

/** Nothing answered, or the connection broke; the message is for the operator. */
export class ServerUnreachable extends Error {
  override readonly name = "ServerUnreachable";
  /** Nothing listens at the address: the server is not running. */
  readonly isAway: boolean;

  constructor(message: string, isAway: boolean) {
    super(message);
    this.isAway = isAway;
  }
}

/**
 * Sends a request to a server on this machine or in its network. `fetch` is not used because it gives up an answer
 * after five minutes without a byte, and a model may take longer. Redirects are not followed, and no proxy is used.
 *
 * @throws {ServerUnreachable} if there is no answer
 */
export async function requestLocal(url: URL, options: LocalRequest = {}): Promise<LocalAnswer> {
  const { method = "GET", headers = {}, body, signal, silenceMs } = options;
  const send = url.protocol === "https:" ? requestHttps : requestHttp;
  signal?.throwIfAborted();
  // A connection of its own: a kept one may have been closed by the server just when the next request is sent.
  const request = send(url, { method, headers, signal, agent: false, timeout: silenceMs });
  request.on("timeout", () => request.destroy(new Error(`nothing came for ${silenceMs} ms`)));
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.on("response", resolve).on("error", reject);
  });
  if (typeof body === "object") {
    // The error is that of `request`.
    void pipeline(body, request).catch(() => {});
  } else request.end(body);
  try {
    const answer = await answered;
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: answer };
  } catch (error) {
    signal?.throwIfAborted();
    throw unreachable(error);
  }
}

/** Codes of errors that say that nothing listens there. */
const AWAY = new Set(["ECONNREFUSED", "ENOTFOUND", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN"]);

function unreachable(error: unknown): ServerUnreachable {
  // Of a name with several addresses each has an error of its own, and the message of all is empty.
  const first = error instanceof AggregateError ? error.errors[0] : error;
  const code = first instanceof Error && "code" in first ? String(first.code) : "";
  const message = first instanceof Error ? first.message : String(first);
  return new ServerUnreachable(message, AWAY.has(code));
}

/**
 * Reads an answer as text.
 *
 * @param mostChars a longer one is cut there
 * @throws {ServerUnreachable} if it breaks off
 */
export async function readText({ body }: LocalAnswer, mostChars: number): Promise<string> {
  let text = "";
  try {
    for await (const piece of body.setEncoding("utf8") as AsyncIterable<string>) {
      text += piece;
      if (text.length > mostChars) break;
    }
  } catch (error) {
    throw unreachable(error);
  }
  return text.slice(0, mostChars);
}

/** The type of an answer without its parameters, in small letters. */
export function contentTypeOf({ headers }: Pick<LocalAnswer, "headers">): string {
  return (headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}
