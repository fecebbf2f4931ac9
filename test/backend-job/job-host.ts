import { indexNameOf } from "../../src/backend-job/job-index.ts";
import { JobIndexObject } from "../../src/backend-job/job-index-object.ts";
import { JobObject } from "../../src/backend-job/job-object.ts";
import { openJobSocket } from "../../src/backend-job/open-job.ts";
import type { Env } from "../../src/env.ts";
import { socketHeaders } from "../../src/objects/socket-request.ts";
import {
  type BackendJobResource,
  backendReport,
  createBackendJobBody,
} from "../../src/protocol/backend-jobs.ts";
import type { Report } from "../../src/protocol/monitor.ts";
import { QUIET_BINDINGS } from "../support/runtime/bindings.ts";
import { pass, settled } from "../support/runtime/globals.ts";
import { ObjectHost } from "../support/runtime/host.ts";
import type { FakeSocket, Frame } from "../support/runtime/socket.ts";

export const JOB = "render-42";

type SocketOptions = Partial<Parameters<typeof socketHeaders>[0] & { kind: "backend-job" }>;

/** Rights of a socket, as its token gives them. */
export function user(
  rights: { publish?: string[]; rooms?: string[]; expiresAt?: number } = {},
): SocketOptions {
  const { publish = [], rooms = [], expiresAt = Number.MAX_SAFE_INTEGER } = rights;
  return { principal: { kind: "user", userId: "ann", expiresAt, rooms, publish } };
}

export const BACKEND: SocketOptions = { principal: { kind: "operator" } };

/** The objects that run. */
interface Hosts {
  host?: ObjectHost<JobObject, Env>;
  index?: ObjectHost<JobIndexObject, Env>;
}

/** A job without a space whose object runs in this process, as the Worker and its clients use it. */
export class JobHost {
  /** What the monitor was told, the latest last; `null`: that there is no such job. */
  readonly reports: (Report | null)[];
  readonly host: ObjectHost<JobObject, Env>;
  readonly index: ObjectHost<JobIndexObject, Env>;
  private readonly env: Env;

  private constructor(parts: Pick<JobHost, "host" | "index" | "reports">, env: Env) {
    this.host = parts.host;
    this.index = parts.index;
    this.reports = parts.reports;
    this.env = env;
  }

  /** Starts the object; the job isn't made yet. */
  static async start(): Promise<JobHost> {
    const reports: (Report | null)[] = [];
    const monitor = {
      report: async (_source: string, report: Report) => void reports.push(report),
      forget: async () => void reports.push(null),
      jobIds: async () => [],
    };
    const hosts: Hosts = {};
    const env = environment(hosts, monitor);
    const index = await ObjectHost.start(JobIndexObject, env, indexNameOf(JOB));
    hosts.index = index;
    const host = await ObjectHost.start(JobObject, env, JOB);
    hosts.host = host;
    return new JobHost({ host, index, reports }, env);
  }

  /** Starts the object and makes the job. */
  static async make(body: object = {}): Promise<JobHost> {
    const job = await JobHost.start();
    await job.create(body);
    return job;
  }

  get object(): JobObject {
    return this.host.object;
  }

  /** Makes the job; returns whether it was there before, or the code of the refusal. */
  async create(body: object = {}): Promise<"made" | "repeat" | string> {
    const text = JSON.stringify(createBackendJobBody.parse(body));
    const reply = await settled(this.object.create(text));
    if (!reply.ok) return reply.code;
    return reply.isRepeat ? "repeat" : "made";
  }

  /** Reports over HTTP; returns the body of the answer, or the code of the refusal. */
  async report(type: string, fields: object = {}): Promise<{ [field: string]: unknown } | string> {
    const text = JSON.stringify(backendReport.parse({ type, ...fields }));
    const reply = await settled(this.object.report(text));
    return reply.ok ? JSON.parse(reply.body) : reply.code;
  }

  /** The job as `GET /api/jobs/:id` shows it to a stranger, or the code of the refusal. */
  async read(mayRead = false): Promise<BackendJobResource | string> {
    const reply = await this.object.job(mayRead);
    return reply.ok ? JSON.parse(reply.body) : reply.code;
  }

  /** Both objects lose their memory, but keep their sockets. */
  async hibernate(): Promise<void> {
    await this.host.hibernate();
    await this.index.wake();
  }

  /** Opens a socket that waits at the index for the job, because nobody has made it yet. */
  async waitAtIndex(options: SocketOptions = {}): Promise<FakeSocket> {
    return opened(this.index.open(headersOf(options), `/${JOB}`));
  }

  /** Opens a socket as the Worker does, which may wait for a job that nobody has made yet. */
  async wait(options: SocketOptions = {}): Promise<FakeSocket> {
    const opened = await openJobSocket(this.env, JOB, { principal: null, ...options });
    await pass(2);
    if (!(opened instanceof Response)) throw new Error(opened.code);
    return opened.webSocket as unknown as FakeSocket;
  }

  /** Opens a socket at the job's object. */
  async follow(options: SocketOptions = {}): Promise<FakeSocket> {
    return opened(this.host.open(headersOf(options)));
  }
}

/** Sends a frame and returns what comes of it. */
export async function ask(socket: FakeSocket, frame: object | string): Promise<Frame[]> {
  socket.take();
  socket.push(frame);
  await pass(5);
  return socket.take();
}

function headersOf(options: SocketOptions): Headers {
  return socketHeaders({ kind: "backend-job", principal: null, ...options });
}

async function opened(opening: Promise<FakeSocket | string>): Promise<FakeSocket> {
  const socket = await opening;
  if (typeof socket === "string") throw new Error(socket);
  await pass();
  return socket;
}

/** The bindings of the Worker and of both objects; the objects are called once they have started. */
function environment(hosts: Hosts, monitor: object): Env {
  const job = { fetch: (url: string, init: RequestInit) => hosts.host?.dial(url, init) };
  const index = () => hosts.index?.object;
  const jobIndex = {
    fetch: (url: string, init: RequestInit) => hosts.index?.dial(url, init),
    has: (id: string) => index()?.has(id),
    add: (id: string, user: string | null) => index()?.add(id, user),
    announce: (id: string) => index()?.announce(id),
    remove: (id: string) => index()?.remove(id),
  };
  const env = {
    ...QUIET_BINDINGS,
    MONITOR: { getByName: () => monitor },
    JOB: { getByName: () => job },
    JOB_INDEX: { getByName: () => jobIndex },
  };
  return env as unknown as Env;
}
