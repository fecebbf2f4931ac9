import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import type { Env } from "../../src/env.ts";
import { app } from "../../src/http/app.ts";
import { readSocketRequest } from "../../src/objects/socket-request.ts";
import type { Problem } from "../../src/protocol/resources.ts";
import { tokenOf } from "../support/tokens.ts";
import "../support/fake-object.ts";

export const OPERATOR_KEY = "an-operator-key-for-tests";
export const OPERATOR = { authorization: `Bearer ${OPERATOR_KEY}` };
const MIGRATIONS = path.join(import.meta.dirname, "../../migrations");
const SECRET = "a-secret-for-the-tokens-of-tests";

/** A call of the Worker to an object. */
export interface ObjectCall {
  /** Kind and name of the object, such as `space demo`. */
  object: string;
  method: string;
  args: unknown[];
}

type Answer = (call: ObjectCall) => unknown;

/** D1, as the catalogue uses it, with these spaces. */
function fakeD1(spaces: readonly string[]): D1Database {
  const database = new DatabaseSync(":memory:");
  for (const file of readdirSync(MIGRATIONS)) {
    database.exec(readFileSync(path.join(MIGRATIONS, file), "utf8"));
  }
  for (const name of spaces) {
    const row = "INSERT INTO spaces (name, title, visibility, settings, created_at)";
    database.prepare(`${row} VALUES (?, '', 'public', '{}', 0)`).run(name);
  }
  const prepared = (query: string, values: SQLInputValue[] = []) => {
    const statement = database.prepare(query);
    return {
      bind: (...given: SQLInputValue[]) => prepared(query, given),
      first: async () => statement.get(...values) ?? null,
      all: async () => ({ results: statement.all(...values) }),
      run: async () => ({ meta: { changes: Number(statement.run(...values).changes) } }),
    };
  };
  const batch = (list: ReturnType<typeof prepared>[]) =>
    Promise.all(list.map((statement) => statement.run()));
  return { prepare: prepared, batch } as unknown as D1Database;
}

/**
 * The HTTP side of the edge in this process. What an object answers is up to the test: `answers` has a function for
 * each method, and `calls` what was asked.
 */
export class Edge {
  readonly calls: ObjectCall[] = [];
  readonly answers: Record<string, Answer> = {
    create: () => undefined,
    authorize: () => ({ ok: true, body: "" }),
  };
  readonly files = new Map<string, Uint8Array>();
  /** The addresses whose submits were counted. */
  readonly counted: string[] = [];
  isLimited = false;
  env: Env;

  /** @param spaces the spaces that the catalogue lists */
  constructor(settings: Partial<Env> = {}, spaces: readonly string[] = ["demo", "my-space"]) {
    const objects = (kind: string) => ({
      getByName: (name: string) =>
        new Proxy({}, { get: (_stub, method) => this.method(`${kind} ${name}`, String(method)) }),
    });
    const { files } = this;
    const fileAt = (key: string) => {
      const bytes = files.get(key);
      return bytes ? { bytes, size: bytes.length, httpEtag: '"e1"', checksums: {} } : null;
    };
    this.env = {
      SPACE: objects("space"),
      JOB: objects("job"),
      ROOM: objects("room"),
      GATEWAY: objects("gateway"),
      MONITOR: objects("monitor"),
      JOB_INDEX: { getByName: () => ({ has: async () => true }) },
      FILE_SWEEP: { getByName: () => ({ begin: async () => undefined }) },
      DB: fakeD1(spaces),
      FILES: {
        put: async (key: string, bytes: Uint8Array) => void files.set(key, new Uint8Array(bytes)),
        head: async (key: string) => fileAt(key),
        get: async (key: string, options: { range?: { offset: number; length: number } } = {}) => {
          const { offset = 0, length = Number.POSITIVE_INFINITY } = options.range ?? {};
          const file = fileAt(key);
          return file && { ...file, body: file.bytes.slice(offset, offset + length) };
        },
        delete: async (keys: string | string[]) => [keys].flat().map((key) => files.delete(key)),
      },
      ASSETS: { fetch: async (url: URL) => new Response(`the page ${url.pathname}`) },
      SUBMITS: {
        limit: async ({ key }: { key: string }) => {
          this.counted.push(key);
          return { success: !this.isLimited };
        },
      },
      OPERATOR_KEY,
      SIGNING_KEY: "a-signing-key-for-tests",
      JWT_SECRET: SECRET,
      ...settings,
    } as unknown as Env;
  }

  request(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const isRaw = body === undefined || typeof body === "string" || body instanceof Uint8Array;
    const type: Record<string, string> =
      body === undefined ? {} : { "content-type": "application/json" };
    const init = {
      method,
      headers: { ...type, ...headers },
      body: isRaw ? body : JSON.stringify(body),
    };
    const context = { waitUntil: () => undefined } as unknown as ExecutionContext;
    const url = `https://edge.test${path}`;
    return Promise.resolve(app.request(url, init as RequestInit, this.env, context));
  }

  /** The answer's status and problem. */
  async problem(...request: Parameters<Edge["request"]>): Promise<[number, Problem]> {
    const response = await this.request(...request);
    return [response.status, await response.json()];
  }

  /** The arguments of every call of this method. */
  argsOf(method: string): unknown[][] {
    return this.calls.filter((call) => call.method === method).map(({ args }) => args);
  }

  /** The methods that were called, each with its object. */
  get asked(): string[] {
    return this.calls.map(({ object, method }) => `${object}: ${method}`);
  }

  private method(object: string, method: string) {
    return async (...args: unknown[]) => {
      // The headers of a socket can't be cloned.
      const call = { object, method, args: method === "fetch" ? args : structuredClone(args) };
      this.calls.push(call);
      const answer = this.answers[method];
      if (!answer) throw new Error(`${object} has no answer to ${method}`);
      return answer(call);
    };
  }
}

export async function asUser(userId: string, claims: object = {}) {
  return { authorization: `Bearer ${await tokenOf(SECRET, userId, { ...claims })}` };
}

/** The Worker's end of a socket that an object has opened: a test sends frames over it, and closes it. */
export class ObjectSocket extends EventTarget {
  /** The codes with which the Worker closed it. */
  readonly closes: (number | undefined)[] = [];

  accept(): void {}

  close(code?: number): void {
    this.closes.push(code);
  }

  receive(...frames: object[]): void {
    for (const frame of frames) {
      this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(frame) }));
    }
  }

  end(code: number, reason = ""): void {
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }

  break(): void {
    this.dispatchEvent(new Event("error"));
  }

  /** The object's answer that opens this socket. */
  get answer(): Response {
    return Object.assign(new Response("the socket"), { webSocket: this }) as unknown as Response;
  }
}

/** What the Worker told an object about a socket, as the object reads it. */
export function socketOf({ args }: ObjectCall): Record<string, unknown> {
  const { headers } = args[1] as { headers: Headers };
  return readSocketRequest(headers, "worker", "subscriber", "backend-job", "room", "gateway");
}

export function body(value: object) {
  return { ok: true as const, body: JSON.stringify(value) };
}

export function refusal(code: string, detail = "The reason.") {
  return { ok: false as const, code, detail };
}
