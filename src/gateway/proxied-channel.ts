import { formatPosition, type Position } from "../channel/position.ts";
import type { Address } from "../protocol/address.ts";
import { isAnnouncement } from "../protocol/announcement.ts";
import type { Json, JsonObject } from "../protocol/codec.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { type Client, tell } from "./gateway-sockets.ts";

/** The address of a space or a job. The gateway opens a socket to it for each client. */
export type ChannelAddress = Exclude<Address, { kind: "room" }>;

/** Opens a socket to a channel for one client, or returns the error that the client gets instead. */
export type OpenChannel = (
  client: Client,
  address: ChannelAddress,
  since: string | undefined,
) => Promise<WebSocket | { code: string; message: string }>;

interface ProxiedChannelDeps {
  client: Client;
  /** The channel's address. */
  room: string;
  socket: WebSocket;
  onEnd: () => void;
  /** Called with the length of each frame that is sent on. */
  onBytes: (bytes: number) => void;
  ref?: Json | undefined;
}

/** A space or a job that one client follows: its frames are sent on with the channel's address as `room` (R8). */
export class ProxiedChannel {
  private readonly client: Client;
  private readonly room: string;
  private readonly socket: WebSocket;
  private ref: Json | undefined;
  private isClosed = false;
  private position: Position | null = null;
  /** Resolves when the first frame has come, or the channel has ended without one. */
  readonly begun: Promise<void>;
  private readonly onBegin: () => void;

  constructor({ client, room, socket, onEnd, onBytes, ref }: ProxiedChannelDeps) {
    this.client = client;
    this.room = room;
    this.socket = socket;
    this.ref = ref;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.begun = promise;
    this.onBegin = resolve;
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string" && !this.isClosed && !isAnnouncement(data)) {
        onBytes(data.length);
        this.onFrame(parseExact(data) as JsonObject);
      }
      resolve();
    });
    const end = ({ code, reason }: { code: number; reason: string }) => {
      resolve();
      if (this.isClosed) return;
      this.isClosed = true;
      this.send({ type: "unsubscribed", room, code, reason });
      onEnd();
    };
    socket.addEventListener("close", end);
    socket.addEventListener("error", () => end({ code: 1001, reason: "The channel was lost." }));
    socket.accept();
  }

  /** Sends an acknowledgement on to a job. A space does not count unacknowledged bytes. */
  acknowledge(offset: number): void {
    const isCounted = this.client.attachment.acks && this.room.startsWith("job:");
    if (isCounted && !this.isClosed) this.socket.send(JSON.stringify({ type: "ack", offset }));
  }

  /** The client's position, from which another socket can resume. */
  get since(): string | undefined {
    return this.position ? formatPosition(this.position) : undefined;
  }

  close(): void {
    this.isClosed = true;
    this.onBegin();
    this.socket.close();
  }

  private onFrame(frame: JsonObject): void {
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
    // Only the first `subscribed` answers the client's `subscribe`.
    this.ref = undefined;
  }

  private send(frame: object): void {
    tell(this.client, [JSON.stringify(frame)]);
  }
}

/** The spaces and jobs that each client follows. */
export class ProxiedChannels {
  private readonly byClient = new Map<Client, Map<string, ProxiedChannel>>();

  add(client: Client, room: string, channel: ProxiedChannel): void {
    this.close(client, room);
    const channels = this.byClient.get(client) ?? new Map<string, ProxiedChannel>();
    this.byClient.set(client, channels.set(room, channel));
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
    for (const channel of this.byClient.get(client)?.values() ?? []) channel.close();
    this.byClient.delete(client);
  }
}
