import { z } from "zod";
import { type RoomEventFrame, roomEventFrame } from "../protocol/room-events.ts";
import {
  authenticatedFrame,
  establishedFrame,
  type GatewayClientFrameInput,
  gatewayErrorFrame,
  presenceFrame,
  subscribedFrame,
} from "../protocol/room-frames.ts";
import { timestamp } from "../protocol/values.ts";
import type { Edge } from "./edge.ts";
import { EdgeSocket } from "./edge-socket.ts";
import { DialoutError } from "./errors.ts";
import { RoomFeed } from "./room-feed.ts";
import type { RoomSubscriber } from "./room-subscriber.ts";
import { TokenRenewal } from "./token-renewal.ts";

/** What is heard there, beside events; frames of other types are not for this client. */
const gatewayFrame = z.discriminatedUnion("type", [
  establishedFrame,
  subscribedFrame,
  authenticatedFrame,
  presenceFrame,
  gatewayErrorFrame,
  z.object({ type: z.literal("connection.expiring"), expires_at: timestamp }),
]);
type GatewayFrame = z.infer<typeof gatewayFrame>;

/** The one socket over which a client follows all its rooms: open while there are any. */
export class Gateway {
  readonly #edge: Edge;
  readonly #feeds = new Map<string, RoomFeed>();
  readonly #renewal: TokenRenewal;
  #socket: EdgeSocket | null = null;
  #isUp = false;

  constructor(edge: Edge) {
    this.#edge = edge;
    this.#renewal = new TokenRenewal(edge.tokens, (token) => {
      this.#send({ type: "authenticate", token, ref: AUTHENTICATE });
    });
  }

  join(room: string, subscriber: RoomSubscriber): void {
    this.#socket ??= this.#dial();
    let feed = this.#feeds.get(room);
    if (feed === undefined) {
      feed = new RoomFeed(room, (frame) => this.#send(frame));
      this.#feeds.set(room, feed);
      if (this.#isUp) feed.up();
    }
    feed.add(subscriber);
  }

  leave(room: string, subscriber: RoomSubscriber): void {
    const feed = this.#feeds.get(room);
    feed?.remove(subscriber);
    if (feed?.size === 0) this.#feeds.delete(room);
    if (this.#feeds.size === 0) this.#hangUp();
  }

  #dial(): EdgeSocket {
    return new EdgeSocket(
      this.#edge,
      { address: () => this.#edge.socketAddress("/ws", { batch: "1" }) },
      {
        open: () => this.#up(),
        frame: (frame) => this.#heard(frame),
        lost: (error) => this.#down(error),
        closed: (error) => this.#ended(error),
      },
    );
  }

  #hangUp(): void {
    this.#isUp = false;
    this.#renewal.stop();
    this.#socket?.close();
    this.#socket = null;
  }

  #up(): void {
    this.#isUp = true;
    this.#renewal.start();
    for (const feed of this.#feeds.values()) feed.up();
  }

  #down(error: DialoutError | null): void {
    this.#isUp = false;
    this.#renewal.stop();
    for (const feed of this.#feeds.values()) feed.down(error);
  }

  #ended(error: DialoutError | null): void {
    this.#hangUp();
    const reason = error ?? new DialoutError("connection_closed", "The edge closed the socket.");
    for (const feed of [...this.#feeds.values()]) feed.fail(reason);
  }

  #heard(frame: object): void {
    const event = "data" in frame ? roomEventFrame.safeParse(frame) : null;
    if (event?.success) {
      this.#feeds.get(event.data.room)?.event(event.data satisfies RoomEventFrame);
      return;
    }
    const read = gatewayFrame.safeParse(frame);
    if (read.success) this.#take(read.data);
  }

  #take(frame: GatewayFrame): void {
    switch (frame.type) {
      case "subscribed":
        this.#feeds.get(frame.room)?.subscribed(frame);
        return;
      case "presence.joined":
      case "presence.left":
        this.#feeds.get(frame.room)?.presence(frame);
        return;
      case "connection.expiring":
        this.#renewal.expiring();
        return;
      case "authenticated":
        this.#renewal.accepted(Date.parse(frame.expires_at));
        return;
      case "error":
        if (frame.room !== undefined) this.#feeds.get(frame.room)?.refused(frame);
        else if (frame.ref === AUTHENTICATE) this.#renewal.refused();
    }
  }

  #send(frame: GatewayClientFrameInput): void {
    this.#socket?.send(frame);
  }
}

/** The `ref` of the only frame here that is not about a room. */
const AUTHENTICATE = "authenticate";
