import { scheduler } from "node:timers/promises";

/**
 * What the runtime gives a Durable Object, as far as rooms and gateways use it, in this process. Tests of their
 * logic then take milliseconds, and can hold, lose or repeat any call. What the runtime itself does is tested in
 * test/objects.
 */
class RequestResponsePair {}

Object.assign(globalThis, { scheduler, WebSocketRequestResponsePair: RequestResponsePair });

export type Frame = { type: string; [key: string]: unknown };

/** Frames about how others are sent: they are among `messages` only. */
const ABOUT_SENDING: ReadonlySet<string> = new Set(["sending", "read_check"]);

/** The end of a WebSocket that an object holds; `frames` is what the client gets, `messages` how. */
export class FakeSocket {
  readonly messages: string[] = [];
  readonly frames: Frame[] = [];
  closed: { code: number | undefined; reason: string | undefined } | null = null;
  private attachment = "null";

  send(message: string): void {
    if (this.closed) throw new TypeError("The socket is closed.");
    this.messages.push(message);
    const frame: Frame & { frames?: Frame[] } = JSON.parse(message);
    if (ABOUT_SENDING.has(frame.type)) return;
    this.frames.push(...(frame.type === "batch" ? (frame.frames ?? []) : [frame]));
  }

  close(code?: number, reason?: string): void {
    this.closed ??= { code, reason };
  }

  serializeAttachment(value: unknown): void {
    this.attachment = JSON.stringify(value);
  }

  deserializeAttachment(): unknown {
    return JSON.parse(this.attachment);
  }

  /** Removes and returns the frames that the client has got since it last asked. */
  take(): Frame[] {
    return this.frames.splice(0);
  }

  /** The same for the frames of one type. */
  taken(type: string): Frame[] {
    return this.take().filter((frame) => frame.type === type);
  }

  /** The socket in the type that the code under test expects. */
  get end(): WebSocket {
    return this as unknown as WebSocket;
  }
}

/** The part of an object's storage that is read and written key by key. */
export class FakeKv {
  readonly rows = new Map<string, string>();
  writes = 0;

  get<T>(key: string): T | undefined {
    const text = this.rows.get(key);
    return text === undefined ? undefined : JSON.parse(text);
  }

  put(key: string, value: unknown): void {
    this.writes += 1;
    this.rows.set(key, JSON.stringify(value));
  }

  delete(key: string): boolean {
    this.writes += 1;
    return this.rows.delete(key);
  }

  *list({ prefix = "", limit = Number.POSITIVE_INFINITY } = {}): Iterable<[string, unknown]> {
    const keys = [...this.rows.keys()].filter((key) => key.startsWith(prefix)).sort();
    for (const key of keys.slice(0, limit)) yield [key, this.get(key)];
  }
}

/** What survives an object's memory: its sockets and its storage. */
export class FakeState {
  readonly kv = new FakeKv();
  private readonly tags = new Map<FakeSocket, string[]>();

  /** The state in the types that the code under test expects. */
  get ctx(): DurableObjectState {
    const { kv, tags } = this;
    const known = {
      acceptWebSocket: (socket: FakeSocket, given: string[] = []) => void tags.set(socket, given),
      getWebSockets: (tag?: string) =>
        [...tags].flatMap(([socket, given]) =>
          socket.closed || (tag !== undefined && !given.includes(tag)) ? [] : [socket],
        ),
      setWebSocketAutoResponse: () => undefined,
      blockConcurrencyWhile: (work: () => Promise<unknown>) => work(),
      getWebSocketAutoResponseTimestamp: () => null,
      storage: { kv, put: async (key: string, value: unknown) => kv.put(key, value) },
    };
    return known as unknown as DurableObjectState;
  }

  get storage(): DurableObjectStorage {
    return this.ctx.storage;
  }
}

/** Lets everything happen that waits for nothing but promises. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
