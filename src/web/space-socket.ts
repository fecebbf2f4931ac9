import ReconnectingWebSocket, { CloseEvent as PartySocketClose } from "partysocket/ws";
import { parseJson } from "../protocol/codec.ts";
import { shouldReconnect } from "../protocol/codes.ts";
import { parseMessage } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  type ServerFrame,
  type SpaceClientFrameInput,
  SUBSCRIBER_PROTOCOL,
  serverFrame,
} from "../protocol/subscriber-frames.ts";
import { HEARTBEAT_MS, SocketHeartbeat } from "./socket-heartbeat.ts";

export interface SpaceSocketHandlers {
  onOpen(): void;
  /** `neverOpened`: the handshake failed, so the edge may have refused the connection. */
  onDisconnect(neverOpened: boolean): void;
  onClose(code: number, reason: string): void;
  onFrame(frame: ServerFrame): void;
}

export interface SpaceSocket {
  /** Returns whether the frame was sent; a frame that can't be sent now is dropped. */
  send(frame: SpaceClientFrameInput): boolean;
  redial(): void;
  close(): void;
}

/** Opens the page's socket to its space. It reconnects until the edge closes it with a final code. */
export function dialSpace(
  space: string,
  since: () => string | null,
  handlers: SpaceSocketHandlers,
): SpaceSocket {
  let open = false;
  const heartbeat = new SocketHeartbeat();
  const socket = new ReconnectingWebSocket(() => addressOf(space, since()), SUBSCRIBER_PROTOCOL, {
    // Each page waits a different time, so that they don't all reconnect at once.
    minReconnectionDelay: 300 + Math.random() * 700,
    maxReconnectionDelay: 5_000 + Math.random() * 2_000,
    connectionTimeout: 10_000,
    maxEnqueuedMessages: 0,
    shouldReconnectOnClose: (event) => !isFinal(event),
  });
  socket.onopen = () => {
    open = true;
    heartbeat.onReceived();
    handlers.onOpen();
  };
  socket.onclose = (event) => {
    const neverOpened = !open;
    open = false;
    if (isFinal(event)) handlers.onClose(event.code, event.reason);
    else handlers.onDisconnect(neverOpened);
  };
  socket.onmessage = (event: MessageEvent<unknown>) => {
    heartbeat.onReceived();
    if (event.data === "pong") return;
    const text = typeof event.data === "string" ? event.data : "";
    const parsed = parseJson(text, LIMITS.jsonDepth + 8, parseMessage);
    if (!parsed.ok) return;
    const read = serverFrame.safeParse(parsed.value);
    // Frames that a newer edge may send are ignored (C1).
    if (read.success) handlers.onFrame(read.data);
  };
  setInterval(() => {
    if (!open) return;
    if (heartbeat.beat() === "ping") socket.send("ping");
    else socket.reconnect();
  }, HEARTBEAT_MS);
  return {
    send: (frame) => socket.send(JSON.stringify(frame)),
    redial: () => socket.reconnect(),
    close: () => socket.close(),
  };
}

/** If a dial fails, partysocket creates a close event with code 1000 itself; the edge did not send it. */
function isFinal(event: { code: number }): boolean {
  return !(event instanceof PartySocketClose) && !shouldReconnect(event.code);
}

function addressOf(space: string, since: string | null): string {
  const url = new URL(`/api/spaces/${encodeURIComponent(space)}/ws`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (since !== null) url.searchParams.set("since", since);
  return url.href;
}
