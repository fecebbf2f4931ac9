import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { vi } from "vitest";
import { parseExact } from "../../src/protocol/exact-json.ts";
import { DEFAULT_SETTINGS, type SpaceSettings } from "../../src/protocol/resources.ts";

export const OPERATOR = { authorization: `Bearer ${env.OPERATOR_KEY}` };

let spacesMade = 0;

/** A space that a helper only needs by its name. */
export interface NamedSpace {
  name: string;
}

/** A space to which a test can connect workers. */
export interface WorkerSpace extends NamedSpace {
  token: string;
}

/** Makes a space for one test, with a token for its workers. */
export async function makeSpace(settings: Partial<SpaceSettings> = {}) {
  spacesMade += 1;
  const name = `space-${spacesMade}-${crypto.randomUUID().slice(0, 8)}`;
  await expectStatus(201, await call("POST", "/api/spaces", { name, ...settings }, OPERATOR));
  const minted = await call("POST", `/api/spaces/${name}/tokens`, { name: "test" }, OPERATOR);
  const { token, id } = await minted.json<{ token: string; id: string }>();
  return { name, token, tokenId: id, settings: { ...DEFAULT_SETTINGS, ...settings } };
}

export function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  const type: Record<string, string> =
    body === undefined ? {} : { "content-type": "application/json" };
  return exports.default.fetch(`https://edge.test${path}`, {
    method,
    headers: { ...type, ...headers },
    body: typeof body === "string" || body === undefined ? body : JSON.stringify(body),
  });
}

/** Returns the problem (RFC 9457) of an answer; throws if the answer has another status. */
export async function problemOf(status: number, response: Promise<Response>) {
  const answer = await expectStatus(status, await response);
  return answer.json<{
    code: string;
    detail: string;
    errors?: { path: string; message: string }[];
  }>();
}

/** The Durable Object of a space, in which a test can change memory and rows. */
export function objectOf(space: NamedSpace) {
  return env.SPACE.getByName(space.name);
}

/** Replaces a method of an object in memory, private ones too; a name that the object doesn't have fails the test. */
export function replaceMethod(object: object, name: string, method: () => unknown): void {
  if (typeof Reflect.get(object, name) !== "function") throw new Error(`There is no ${name}().`);
  Object.assign(object, { [name]: method });
}

/** Runs SQL inside the Durable Object of a space and returns the rows. */
export function runSql<R extends Record<string, string | number | null>>(
  space: NamedSpace,
  query: string,
  ...bindings: (string | number | null)[]
): Promise<R[]> {
  return runInDurableObject(objectOf(space), (_object, { storage }) =>
    storage.sql.exec<R>(query, ...bindings).toArray(),
  );
}

/**
 * Lets time pass until `at`, milliseconds since 1970, as it does where nothing stands still: every alarm of these
 * objects goes off when it is due. The clock stays there until the test calls `vi.restoreAllMocks()`.
 */
export async function passTimeTo(at: number, objects: readonly DurableObjectStub[]): Promise<void> {
  const clock = vi.spyOn(Date, "now");
  for (const object of objects) {
    for (;;) {
      const due = await runInDurableObject(object, (_object, { storage }) => storage.getAlarm());
      if (due === null || due > at) break;
      clock.mockImplementation(() => due);
      await runDurableObjectAlarm(object).catch(() => false);
    }
  }
  clock.mockImplementation(() => at);
}

export async function expectStatus(status: number, response: Response): Promise<Response> {
  if (response.status === status) return response;
  throw new Error(`expected ${status}, got ${response.status}: ${await response.text()}`);
}

export type Frame = { type: string; [key: string]: unknown };

/** A WebSocket that keeps the frames it receives, in order, until a test reads them. */
export class TestSocket {
  readonly closed: Promise<{ code: number; reason: string }>;
  /** The sizes of the large messages that were announced. */
  readonly announced: number[] = [];
  private readonly frames: Frame[] = [];
  private readonly socket: WebSocket;
  private wake: () => void = () => undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason }));
    });
    socket.addEventListener("message", ({ data }) => {
      if (data === "pong") return;
      const frame = parseExact(String(data)) as unknown as Frame;
      // It is about the way, like a pong, and tests that are about anything else need not know it (C17).
      if (frame.type === "sending") this.announced.push(Number(frame.bytes));
      else this.frames.push(frame);
      this.wake();
    });
    socket.accept();
  }

  static async open(path: string, headers: Record<string, string> = {}): Promise<TestSocket> {
    const response = await exports.default.fetch(`https://edge.test${path}`, {
      headers: { upgrade: "websocket", ...headers },
    });
    if (!response.webSocket) throw new Error(`${response.status}: ${await response.text()}`);
    return new TestSocket(response.webSocket);
  }

  send(frame: object | string): void {
    this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.send(bytes);
  }

  close(code = 1000): void {
    this.socket.close(code, "test");
  }

  /** The frames that were received and that no test has read yet. */
  get unread(): readonly Frame[] {
    return this.frames;
  }

  /** Waits for the next frame of the type, or matching the predicate, `wanted`; drops the frames before it. */
  async next(wanted: string | ((frame: Frame) => boolean)): Promise<Frame> {
    const found = (await this.until(wanted)).at(-1);
    if (!found) throw new Error("no frame");
    return found;
  }

  /** Waits like `next`, but also returns the frames before the wanted one, which comes last. */
  async until(wanted: string | ((frame: Frame) => boolean)): Promise<Frame[]> {
    const fits = typeof wanted === "string" ? (frame: Frame) => frame.type === wanted : wanted;
    for (;;) {
      const index = this.frames.findIndex(fits);
      if (index >= 0) return this.frames.splice(0, index + 1);
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

/** Connects a worker and registers it; returns its socket and the edge's `registered` frame. */
export async function connectWorker(
  space: WorkerSpace,
  register: object = {},
): Promise<{ socket: TestSocket; registered: Frame }> {
  const socket = await TestSocket.open(`/api/spaces/${space.name}/connect`, {
    authorization: `Bearer ${space.token}`,
  });
  await socket.next("hello");
  socket.send({ type: "register", worker_id: "worker-1", ...register });
  return { socket, registered: await socket.next("registered") };
}

/** Returns the id of the job that the worker gets next. */
export async function nextJobId(worker: TestSocket): Promise<string> {
  return String((await worker.next("job")).job_id);
}

export async function submit(space: string, body: unknown = { input: { prompt: "hi" } }) {
  const response = await call("POST", `/api/spaces/${space}/jobs`, body);
  await expectStatus(202, response);
  return response.json<{ id: string; status: string; queue_position: number | null }>();
}

export async function getJob(id: string) {
  const response = await call("GET", `/api/jobs/${id}`);
  return response.json<{
    status: string;
    output: unknown;
    result: unknown;
    attempt: number;
    queue_position: number | null;
    error: { code: string; message: string } | null;
  }>();
}
