import { SUBSCRIBER_PROTOCOL } from "../protocol/subscriber-frames.ts";

const HEADER = "sec-websocket-protocol";

/**
 * The header with the first subprotocol that is offered and known; none where there is no such. A client
 * that asked for a subprotocol rejects an answer without it.
 */
export function protocolHeader(
  { headers }: { headers: Headers },
  known: readonly string[] = [SUBSCRIBER_PROTOCOL],
): Record<string, string> {
  const chosen = offeredProtocols(headers).find((protocol) => known.includes(protocol));
  return chosen === undefined ? {} : { [HEADER]: chosen };
}

/** What a client offers, in its order. */
export function offeredProtocols(headers: Headers): string[] {
  return (headers.get(HEADER) ?? "").split(",").map((protocol) => protocol.trim());
}
