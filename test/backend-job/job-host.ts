import { JobObject } from "../../src/backend-job/job-object.ts";
import type { Env } from "../../src/env.ts";
import { socketHeaders } from "../../src/objects/socket-request.ts";
import {
  type BackendJobResource,
  backendReport,
  createBackendJobBody,
} from "../../src/protocol/backend-jobs.ts";
import type { Report } from "../../src/protocol/monitor.ts";
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

/** A job without a space whose object runs in this process, as the Worker and its clients use it. */
export class JobHost {
  /** What the monitor was told, the latest last; `null`: that there is no such job. */
  readonly reports: (Report | null)[];
  readonly host: ObjectHost<JobObject, Env>;

  private constructor(host: ObjectHost<JobObject, Env>, reports: (Report | null)[]) {
    this.host = host;
    this.reports = reports;
  }

  /** Starts the object; the job isn't made yet. */
  static async start(): Promise<JobHost> {
    const reports: (Report | null)[] = [];
    const monitor = {
      report: async (_source: string, report: Report) => void reports.push(report),
      forget: async () => void reports.push(null),
    };
    const env = { MONITOR: { getByName: () => monitor } };
    return new JobHost(await ObjectHost.start(JobObject, env as unknown as Env, JOB), reports);
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

  /** Opens the job's socket. */
  async follow(options: SocketOptions = {}): Promise<FakeSocket> {
    const headers = socketHeaders({ kind: "backend-job", principal: null, ...options });
    const socket = await this.host.open(headers);
    if (typeof socket === "string") throw new Error(socket);
    await pass();
    return socket;
  }
}

/** Sends a frame and returns what comes of it. */
export async function ask(socket: FakeSocket, frame: object | string): Promise<Frame[]> {
  socket.take();
  socket.push(frame);
  await pass(2);
  return socket.take();
}
