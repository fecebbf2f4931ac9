import ReconnectingWebSocket, { CloseEvent as PartySocketClose } from "partysocket/ws";
import { parseJson } from "../protocol/codec.ts";
import { shouldReconnect } from "../protocol/codes.ts";
import {
  type ServerFrame,
  type SpaceClientFrameInput,
  SUBSCRIBER_PROTOCOL,
  serverFrame,
} from "../protocol/subscriber-frames.ts";

export interface SpaceSocketHandlers {
  onOpen(): void;
  /** `neverOpened`: no connection came about at all, so the edge may have refused it. */
  onDisconnect(neverOpened: boolean): void;
  onClose(code: number, reason: string): void;
  onFrame(frame: ServerFrame): void;
}

export interface SpaceSocket {
  /** Whether the frame went out; what cannot be sent now is never sent later. */
  send(frame: SpaceClientFrameInput): boolean;
  redial(): void;
  close(): void;
}

/** The page's socket to its space, dialed again until the edge says not to. */
export function dialSpace(
  space: string,
  since: () => string | null,
  handlers: SpaceSocketHandlers,
): SpaceSocket {
  let open = false;
  const socket = new ReconnectingWebSocket(() => addressOf(space, since()), SUBSCRIBER_PROTOCOL, {
    // Another spread for every page, so that they don't all come back at once.
    minReconnectionDelay: 300 + Math.random() * 700,
    maxReconnectionDelay: 5_000 + Math.random() * 2_000,
    connectionTimeout: 10_000,
    maxEnqueuedMessages: 0,
    shouldReconnectOnClose: (event) => !isFinal(event),
  });
  socket.onopen = () => {
    open = true;
    handlers.onOpen();
  };
  socket.onclose = (event) => {
    const neverOpened = !open;
    open = false;
    if (isFinal(event)) handlers.onClose(event.code, event.reason);
    else handlers.onDisconnect(neverOpened);
  };
  socket.onmessage = (event: MessageEvent<unknown>) => {
    const parsed = parseJson(typeof event.data === "string" ? event.data : "");
    if (!parsed.ok) return;
    const read = serverFrame.safeParse(parsed.value);
    // A frame of a newer edge is no reason to fail.
    if (read.success) handlers.onFrame(read.data);
  };
  return {
    send: (frame) => socket.send(JSON.stringify(frame)),
    redial: () => socket.reconnect(),
    close: () => socket.close(),
  };
}

/** partysocket makes a close of its own, with code 1000, when a dial fails: no word of the edge. */
function isFinal(event: { code: number }): boolean {
  return !(event instanceof PartySocketClose) && !shouldReconnect(event.code);
}

function addressOf(space: string, since: string | null): string {
  const url = new URL(`/api/spaces/${encodeURIComponent(space)}/ws`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (since !== null) url.searchParams.set("since", since);
  return url.href;
}
