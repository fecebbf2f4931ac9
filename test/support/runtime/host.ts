import { vi } from "vitest";
import type { SqlRow, SqlValue } from "../../../src/storage/sql.ts";
import { DialedSocket } from "./dialed-socket.ts";
import { noteError } from "./errors.ts";
import type { FakeSocket, ObjectEvents } from "./socket.ts";
import { FakeStorage } from "./storage.ts";

/** The handlers of a Durable Object that the runtime calls. */
interface HostedObject {
  fetch(request: Request): Promise<Response>;
  alarm(): Promise<void>;
  webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void>;
  webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void>;
  webSocketError(socket: WebSocket, error: unknown): Promise<void>;
}

type ObjectClass<O extends HostedObject, E> = new (ctx: DurableObjectState, env: E) => O;

/**
 * Runs one Durable Object in Node.js, under a clock that the test sets (`runInFakeRuntime`). It has what the runtime
 * has of it: the storage, the sockets and the alarm outlive the object's memory. What the runtime itself does is
 * tested in `test/objects`.
 */
export class ObjectHost<O extends HostedObject, E> implements ObjectEvents {
  object!: O;
  /** How often the alarm went off. */
  alarms = 0;
  private readonly Class: ObjectClass<O, E>;
  private readonly env: E;
  private readonly name: string;
  private readonly storage = new FakeStorage(() => this.setTimer());
  private sockets: FakeSocket[] = [];
  private timer: ReturnType<typeof setTimeout> | null = null;
  private ready: Promise<unknown> = Promise.resolve();

  private constructor(Class: ObjectClass<O, E>, env: E, name: string) {
    this.Class = Class;
    this.env = env;
    this.name = name;
  }

  static async start<O extends HostedObject, E>(
    Class: ObjectClass<O, E>,
    env: E,
    name: string,
  ): Promise<ObjectHost<O, E>> {
    const host = new ObjectHost(Class, env, name);
    await host.load();
    return host;
  }

  get alarmAt(): number | null {
    return this.storage.alarmAt;
  }

  /** How many statements of the object have written something. */
  get writes(): number {
    return this.storage.writes;
  }

  /** The sockets that the object has accepted and that are open. */
  get openSockets(): FakeSocket[] {
    return this.sockets.filter(({ closed }) => closed === null);
  }

  sql<R extends SqlRow>(query: string, ...bindings: SqlValue[]): R[] {
    return this.storage.sql.exec(query, ...bindings).toArray() as R[];
  }

  /** Opens a socket with these headers of the Worker; a text is the code of the refusal. */
  async open(headers: Headers, path = "/"): Promise<FakeSocket | string> {
    const request = new Request(`https://object.test${path}`, { headers });
    const response = await this.object.fetch(request);
    const { webSocket } = response as unknown as { webSocket?: FakeSocket };
    if (webSocket) return webSocket;
    if (response.status !== 404) throw new Error(`a refusal has the status ${response.status}`);
    return ((await response.json()) as { code: string }).code;
  }

  /** What a Worker gets that opens a socket with this request: the answer, with its end of the socket. */
  async dial(url: string, init: RequestInit): Promise<Response> {
    const response = await this.object.fetch(new Request(url, init));
    const { webSocket } = response as unknown as { webSocket?: FakeSocket };
    if (!webSocket) return response;
    const dialed = new DialedSocket(webSocket) as unknown as WebSocket;
    return new Response(null, { status: 101, webSocket: dialed });
  }

  /** The object loses its memory, with all that its timers would do, but keeps its sockets. */
  async hibernate(): Promise<void> {
    stopTimers();
    await this.wake();
  }

  /** The object starts without memory; use this for the second object that hibernates. */
  async wake(): Promise<void> {
    await this.load();
    this.setTimer();
  }

  /** The edge is killed and starts again `awayMs` later: the sockets are gone, and no handler was called. */
  async restart(awayMs = 0): Promise<void> {
    stopTimers();
    for (const socket of this.sockets) socket.vanish();
    vi.setSystemTime(Date.now() + awayMs);
    await this.hibernate();
  }

  /** The edge stands still for so long, with its memory kept: no timer runs, and what is overdue runs right after. */
  standStill(ms: number): void {
    vi.setSystemTime(Date.now() + ms);
    this.setTimer();
  }

  /** Lets the alarm go off now, if one is set. */
  async runAlarm(): Promise<void> {
    if (this.storage.alarmAt === null) return;
    this.storage.alarmAt = null;
    this.setTimer();
    this.alarms += 1;
    await this.object.alarm();
  }

  onMessage(socket: FakeSocket, message: string): void {
    this.object.webSocketMessage(socket as unknown as WebSocket, message).catch(noteError);
  }

  onClose(socket: FakeSocket, code: number, reason: string): void {
    this.object.webSocketClose(socket as unknown as WebSocket, code, reason).catch(noteError);
  }

  onError(socket: FakeSocket): void {
    const error = new Error("the connection was reset");
    this.object.webSocketError(socket as unknown as WebSocket, error).catch(noteError);
  }

  private async load(): Promise<void> {
    this.object = new this.Class(this.context(), this.env);
    await this.ready;
  }

  private setTimer(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    const { alarmAt } = this.storage;
    const ms = alarmAt === null ? null : Math.max(0, alarmAt - Date.now());
    // A timer has 31 bits.
    this.timer =
      ms === null
        ? null
        : setTimeout(() => this.onTimer().catch(noteError), Math.min(ms, 2 ** 31 - 1));
  }

  private async onTimer(): Promise<void> {
    const { alarmAt } = this.storage;
    if (alarmAt !== null && alarmAt > Date.now()) this.setTimer();
    else await this.runAlarm();
  }

  private context(): DurableObjectState {
    const context = {
      id: { name: this.name },
      storage: this.storage,
      blockConcurrencyWhile: (work: () => Promise<unknown>) => {
        this.ready = work();
        return this.ready;
      },
      waitUntil: (work: Promise<unknown>) => void work.catch(noteError),
      acceptWebSocket: (socket: FakeSocket, tags: string[]) => {
        socket.tags = tags;
        socket.connect(this);
        this.sockets.push(socket);
      },
      getWebSockets: (tag?: string) =>
        this.openSockets.filter(({ tags }) => tag === undefined || tags.includes(tag)),
      getTags: ({ tags }: FakeSocket) => tags,
      setWebSocketAutoResponse: () => undefined,
      getWebSocketAutoResponseTimestamp: ({ pingedAt }: FakeSocket) => pingedAt,
      abort: (reason: string) => noteError("the object restarted itself", reason),
    };
    return context as unknown as DurableObjectState;
  }
}

/** Timers go with the memory. The clock, which goes back when they are cleared, goes on. */
function stopTimers(): void {
  const now = Date.now();
  vi.clearAllTimers();
  vi.setSystemTime(now);
}
