import { formatPosition, type Position } from "../channel/position.ts";
import { sendFrames } from "../objects/frame-target.ts";
import type { Address } from "../protocol/address.ts";
import type { Json, JsonObject } from "../protocol/codec.ts";
import { type Client, targetOf } from "./gateway-sockets.ts";

/** A space or a job, whose own socket the gateway opens for one client. */
export type ChannelAddress = Exclude<Address, { kind: "room" }>;

export type OpenChannel = (
  client: Client,
  address: ChannelAddress,
  since: string | undefined,
) => Promise<WebSocket | { code: string; message: string }>;

/** What a client follows of a space or a job: the channel's own frames, with the address as `room`. */
export class ProxiedChannel {
  private readonly client: Client;
  private readonly room: string;
  private readonly socket: WebSocket;
  private ref: Json | undefined;
  private isOver = false;
  private position: Position | null = null;

  constructor(client: Client, room: string, socket: WebSocket, onEnd: () => void, ref?: Json) {
    this.client = client;
    this.room = room;
    this.socket = socket;
    this.ref = ref;
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string" && !this.isOver) this.pass(JSON.parse(data));
    });
    const end = ({ code, reason }: { code: number; reason: string }) => {
      if (this.isOver) return;
      this.isOver = true;
      this.send({ type: "unsubscribed", room, code, reason });
      onEnd();
    };
    socket.addEventListener("close", end);
    socket.addEventListener("error", () => end({ code: 1001, reason: "The channel was lost." }));
    socket.accept();
  }

  /** Passed on to a job, which counts what it sends; a space doesn't. */
  acknowledge(offset: number): void {
    const isCounted = this.client.attachment.acks && this.room.startsWith("job:");
    if (isCounted && !this.isOver) this.socket.send(JSON.stringify({ type: "ack", offset }));
  }

  /** Where the client is, to go on there over another socket. */
  get since(): string | undefined {
    return this.position ? formatPosition(this.position) : undefined;
  }

  close(): void {
    this.isOver = true;
    this.socket.close();
  }

  private pass(frame: JsonObject): void {
    const { offset, epoch } = frame;
    if (frame.type !== "connection") {
      if (this.position && typeof offset === "number") this.position.offset = offset;
      this.send({ ...frame, room: this.room });
      return;
    }
    if (typeof epoch === "string" && typeof offset === "number") this.position = { epoch, offset };
    const { recovered = false } = frame;
    const { room, ref } = this;
    this.send({ type: "subscribed", room, epoch, offset, recovered, ref });
    // Only the first answers the `subscribe`.
    this.ref = undefined;
  }

  private send(frame: object): void {
    sendFrames(targetOf(this.client), [JSON.stringify(frame)]);
  }
}

/** What clients follow beside rooms. */
export class ProxiedChannels {
  private readonly byClient = new Map<Client, Map<string, ProxiedChannel>>();

  add(client: Client, room: string, link: ProxiedChannel): void {
    this.close(client, room);
    const links = this.byClient.get(client) ?? new Map<string, ProxiedChannel>();
    this.byClient.set(client, links.set(room, link));
  }

  acknowledge(client: Client, room: string, offset: number): void {
    this.byClient.get(client)?.get(room)?.acknowledge(offset);
  }

  positionOf(client: Client, room: string): string | undefined {
    return this.byClient.get(client)?.get(room)?.since;
  }

  close(client: Client, room: string): void {
    this.byClient.get(client)?.get(room)?.close();
    this.byClient.get(client)?.delete(room);
  }

  closeAll(client: Client): void {
    for (const link of this.byClient.get(client)?.values() ?? []) link.close();
    this.byClient.delete(client);
  }
}
