import { tokenOf } from "../../test/support/tokens.ts";

/** The room that all subscribers follow. */
export const ROOM = "bench:room";

/** The payload of an event: 200 bytes. */
export const TEXT = "x".repeat(200);

/** Where and how to follow the room, for each kind of server. */
export type RoomEndpoint =
  | {
      /** `gateway`: `/ws`, where many rooms share a socket; `room`: the room's own address. */
      kind: "gateway" | "room";
      url: string;
      /** The key that users' tokens are signed with. */
      secret: string;
      /** Whether events that are sent together arrive as one frame. */
      batch: boolean;
    }
  | { kind: "plain" | "socketio"; url: string };

/** A frame that is expected before the first event, by its first characters, and the reply to it. */
interface HandshakeStep {
  expect: string;
  reply?: string;
}

export interface Handshake {
  steps: HandshakeStep[];
  /** The number of steps after which the socket is connected; the rest join the room. */
  connectedAfter: number;
  /** Frames that begin with this may arrive between two steps and are ignored. */
  ignored?: string;
}

export function handshakeOf({ kind }: RoomEndpoint): Handshake {
  switch (kind) {
    case "gateway": {
      const reply = JSON.stringify({ type: "subscribe", room: ROOM });
      const established = { expect: '{"type":"connection.established"', reply };
      const subscribed = { expect: `{"type":"subscribed","room":"${ROOM}"` };
      // Every user follows two rooms without asking (R3).
      const ignored = '{"type":"subscribed"';
      return { steps: [established, subscribed], connectedAfter: 1, ignored };
    }
    case "room":
      return { steps: [{ expect: '{"type":"connection"' }], connectedAfter: 1 };
    case "plain":
      return { steps: [], connectedAfter: 0 };
    case "socketio": {
      const opened = { expect: "0{", reply: "40" };
      const connected = { expect: "40", reply: '420["join",{}]' };
      return { steps: [opened, connected, { expect: "430" }], connectedAfter: 2 };
    }
  }
}

/** The bytes before an event's number: the edge numbers events, elsewhere the publisher does. */
export function markerOf({ kind }: RoomEndpoint): Buffer {
  return Buffer.from(kind === "gateway" || kind === "room" ? '"offset":' : '"seq":');
}

interface SocketAddress {
  url: string;
  headers: Record<string, string>;
}

/** The address and headers `user` connects with; `publish` puts the right to publish in the token. */
export async function addressOf(
  endpoint: RoomEndpoint,
  user: string,
  publish = false,
): Promise<SocketAddress> {
  const origin = endpoint.url.replace(/^http/, "ws");
  if (!("secret" in endpoint)) {
    const path = endpoint.kind === "socketio" ? "/socket.io/?EIO=4&transport=websocket" : "";
    return { url: origin + path, headers: {} };
  }
  const rights = { rooms: [ROOM], publish: publish ? [ROOM] : [] };
  const token = await tokenOf(endpoint.secret, user, rights);
  const path = endpoint.kind === "gateway" ? "/ws" : `/api/rooms/${ROOM}/ws`;
  const query = endpoint.batch ? "?batch=1" : "";
  return { url: origin + path + query, headers: { authorization: `Bearer ${token}` } };
}
