import { EdgeSocket, PROBE } from "../client/edge-socket.ts";
import type { DialoutError } from "../client/errors.ts";
import { spaceResource } from "../protocol/resources.ts";
import {
  type ServerFrame,
  type SpaceClientFrameInput,
  serverFrame,
} from "../protocol/subscriber-frames.ts";
import { edgeOfPage } from "./api.ts";

export interface SpaceSocketHandlers {
  onOpen(): void;
  /** The connection broke, or could not be opened; `error` is the reason, if it is known. */
  onDisconnect(error: DialoutError | null): void;
  /** The edge closed the socket for good. */
  onClose(error: DialoutError | null): void;
  onFrame(frame: ServerFrame): void;
}

export interface SpaceSocket {
  /** A frame that can't be sent now is dropped. */
  send(frame: SpaceClientFrameInput): void;
  close(): void;
}

/** A dead connection is noticed before the lease of a worker would be over (30 s). */
const HEARTBEAT_MS = 10_000;

/** Opens the page's socket to its space. It reconnects until the edge closes it with a final code. */
export function dialSpace(
  space: string,
  since: () => string | null,
  handlers: SpaceSocketHandlers,
): SpaceSocket {
  const edge = edgeOfPage();
  const path = `/api/spaces/${encodeURIComponent(space)}`;
  const target = {
    address: () => edge.socketAddress(`${path}/ws`, { since: since(), batch: "1" }),
    heartbeatMs: HEARTBEAT_MS,
    probe: () => edge.http.call({ path, ...PROBE }, spaceResource),
  };
  return new EdgeSocket(edge, target, {
    ...handlers,
    onFrame: (frame) => {
      const read = serverFrame.safeParse(frame);
      // Frames that a newer edge may send are ignored (C1).
      if (read.success) handlers.onFrame(read.data);
    },
  });
}
