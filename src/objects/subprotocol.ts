import { SUBSCRIBER_PROTOCOL } from "../protocol/subscriber-frames.ts";

const HEADER = "sec-websocket-protocol";

/**
 * The answer's header with the first subprotocol that the client offers and the edge knows; no header if there is
 * none. A client that offers subprotocols rejects an answer without one.
 */
export function protocolHeader(
  { headers }: { headers: Headers },
  known: readonly string[] = [SUBSCRIBER_PROTOCOL],
): Record<string, string> {
  const chosen = offeredProtocols(headers).find((protocol) => known.includes(protocol));
  return chosen === undefined ? {} : { [HEADER]: chosen };
}

/** The subprotocols that a client offers, in the client's order. */
export function offeredProtocols(headers: Headers): string[] {
  return (headers.get(HEADER) ?? "").split(",").map((protocol) => protocol.trim());
}
