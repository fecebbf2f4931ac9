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

/** The gateway's frames, apart from room events, that the client handles; it ignores all others. */
const gatewayFrame = z.discriminatedUnion("type", [
  establishedFrame,
  subscribedFrame,
  authenticatedFrame,
  presenceFrame,
  gatewayErrorFrame,
  z.object({ type: z.literal("connection.expiring"), expires_at: timestamp }),
]);
type GatewayFrame = z.infer<typeof gatewayFrame>;

/** The socket that all rooms of one client share. It is open while at least one room is followed. */
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
      if (this.#isUp) feed.onConnect();
    }
    feed.add(subscriber);
  }

  leave(room: string, subscriber: RoomSubscriber): void {
    const feed = this.#feeds.get(room);
    feed?.remove(subscriber);
    if (feed?.size === 0) this.#feeds.delete(room);
    if (this.#feeds.size === 0) this.#closeSocket();
  }

  #dial(): EdgeSocket {
    return new EdgeSocket(
      this.#edge,
      { address: () => this.#edge.socketAddress("/ws", { batch: "1" }) },
      {
        onOpen: () => this.#onOpen(),
        onFrame: (frame) => this.#onFrame(frame),
        onDisconnect: (error) => this.#onDisconnect(error),
        onClose: (error) => this.#onClose(error),
      },
    );
  }

  #closeSocket(): void {
    this.#isUp = false;
    this.#renewal.stop();
    this.#socket?.close();
    this.#socket = null;
  }

  #onOpen(): void {
    this.#isUp = true;
    this.#renewal.start();
    for (const feed of this.#feeds.values()) feed.onConnect();
  }

  #onDisconnect(error: DialoutError | null): void {
    this.#isUp = false;
    this.#renewal.stop();
    for (const feed of this.#feeds.values()) feed.onDisconnect(error);
  }

  #onClose(error: DialoutError | null): void {
    this.#closeSocket();
    const reason = error ?? new DialoutError("connection_closed", "The edge closed the socket.");
    for (const feed of [...this.#feeds.values()]) feed.fail(reason);
  }

  #onFrame(frame: object): void {
    const event = "data" in frame ? roomEventFrame.safeParse(frame) : null;
    if (event?.success) {
      this.#feeds.get(event.data.room)?.onEvent(event.data satisfies RoomEventFrame);
      return;
    }
    const read = gatewayFrame.safeParse(frame);
    if (read.success) this.#handleFrame(read.data);
  }

  #handleFrame(frame: GatewayFrame): void {
    switch (frame.type) {
      case "subscribed":
        this.#feeds.get(frame.room)?.onSubscribed(frame);
        return;
      case "presence.joined":
      case "presence.left":
        this.#feeds.get(frame.room)?.onPresence(frame);
        return;
      case "connection.expiring":
        this.#renewal.onExpiring();
        return;
      case "authenticated":
        this.#renewal.onAccepted(Date.parse(frame.expires_at));
        return;
      case "error":
        if (frame.room !== undefined) this.#feeds.get(frame.room)?.onError(frame);
        else if (frame.ref === AUTHENTICATE) this.#renewal.onRefused();
    }
  }

  #send(frame: GatewayClientFrameInput): void {
    this.#socket?.send(frame);
  }
}

/** The `ref` of the only frame here that is not about a room. */
const AUTHENTICATE = "authenticate";
