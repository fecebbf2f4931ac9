/**
 * The parts of the peers' packages that are used here. bench/node_modules is installed only when a
 * benchmark runs, and the type checks must pass without it.
 */
declare module "bullmq" {
  interface RedisOptions {
    connection: { host: string; port: number; maxRetriesPerRequest: null };
  }
  export class Queue {
    constructor(name: string, options: RedisOptions);
    add(name: string, data: object): Promise<Job>;
    waitUntilReady(): Promise<unknown>;
  }
  export class QueueEvents {
    constructor(name: string, options: RedisOptions);
    setMaxListeners(count: number): this;
    waitUntilReady(): Promise<unknown>;
  }
  export class Worker {
    constructor(
      name: string,
      process: (job: Job) => Promise<unknown>,
      options: RedisOptions & { concurrency: number },
    );
    waitUntilReady(): Promise<unknown>;
  }
  export interface Job {
    data: object;
    waitUntilFinished(events: QueueEvents): Promise<unknown>;
  }
}

declare module "socket.io-client" {
  export interface Socket {
    on(event: string, listener: (message: Record<string, unknown>) => void): this;
    once(event: string, listener: () => void): this;
    emit(event: string, message: object): this;
  }
  export function io(url: string, options: { transports: string[]; reconnection: boolean }): Socket;
}

declare module "socket.io" {
  import type { Server as HttpServer } from "node:http";

  interface Socket {
    join(room: string): void;
    on(event: string, listener: (message: unknown, done: () => void) => void): this;
  }
  export class Server {
    constructor(server: HttpServer, options: { transports: string[]; serveClient: boolean });
    on(event: "connection", listener: (socket: Socket) => void): this;
    to(room: string): { emit(event: string, message: unknown): void };
  }
}

declare module "undici" {
  interface Response {
    statusCode: number;
    body: { text(): Promise<string> };
  }
  export class Pool {
    constructor(origin: string, options: { connections: number; pipelining: number });
    request(options: {
      method: string;
      path: string;
      headers: Record<string, string>;
      body: string;
    }): Promise<Response>;
  }
}
