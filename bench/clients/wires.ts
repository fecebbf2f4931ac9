import { tokenOf } from "../../test/support/tokens.ts";

/** The one room that everybody follows. */
export const ROOM = "bench:room";

/** What an event carries: 200 bytes. */
export const TEXT = "x".repeat(200);

/** How one follows the room at each of the servers. */
export type Wire =
  | {
      /** `/ws`, where many rooms share a socket, or the room's own address. */
      kind: "gateway" | "room";
      url: string;
      /** Signs the tokens of users. */
      secret: string;
      /** Events of a moment come as one frame. */
      batch: boolean;
    }
  | { kind: "plain" | "socketio"; url: string };

/** Frames that are expected before the first event, by how they begin, and what to answer. */
interface Step {
  expect: string;
  say?: string;
}

export interface Greeting {
  steps: Step[];
  /** Steps after which the socket is connected; those that are left join the room. */
  connectedAfter: number;
  /** How frames begin that may come between. */
  between?: string;
}

export function greetingOf({ kind }: Wire): Greeting {
  switch (kind) {
    case "gateway": {
      const say = JSON.stringify({ type: "subscribe", room: ROOM });
      const established = { expect: '{"type":"connection.established"', say };
      const subscribed = { expect: `{"type":"subscribed","room":"${ROOM}"` };
      // Of the rooms that everyone with a token follows.
      const between = '{"type":"subscribed"';
      return { steps: [established, subscribed], connectedAfter: 1, between };
    }
    case "room":
      return { steps: [{ expect: '{"type":"connection"' }], connectedAfter: 1 };
    case "plain":
      return { steps: [], connectedAfter: 0 };
    case "socketio": {
      const opened = { expect: "0{", say: "40" };
      const connected = { expect: "40", say: '420["join",{}]' };
      return { steps: [opened, connected, { expect: "430" }], connectedAfter: 2 };
    }
  }
}

/** What stands before an event's number: the edge numbers events itself, elsewhere the publisher does. */
export function markerOf({ kind }: Wire): Buffer {
  return Buffer.from(kind === "gateway" || kind === "room" ? '"offset":' : '"seq":');
}

interface Address {
  url: string;
  headers: Record<string, string>;
}

/** Where `user` connects; `publish` asks for the right to publish too. */
export async function addressOf(wire: Wire, user: string, publish = false): Promise<Address> {
  const origin = wire.url.replace(/^http/, "ws");
  if (!("secret" in wire)) {
    const path = wire.kind === "socketio" ? "/socket.io/?EIO=4&transport=websocket" : "";
    return { url: origin + path, headers: {} };
  }
  const rights = { rooms: [ROOM], publish: publish ? [ROOM] : [] };
  const token = await tokenOf(wire.secret, user, rights);
  const path = wire.kind === "gateway" ? "/ws" : `/api/rooms/${ROOM}/ws`;
  const query = wire.batch ? "?batch=1" : "";
  return { url: origin + path + query, headers: { authorization: `Bearer ${token}` } };
}
