import type { Caller } from "../../src/auth/caller.ts";
import type { Env } from "../../src/env.ts";
import { socketHeaders } from "../../src/objects/socket-request.ts";
import type { Report } from "../../src/protocol/monitor.ts";
import {
  DEFAULT_SETTINGS,
  type JobResource,
  type SpaceResource,
  type SpaceSettings,
  submitJobBody,
} from "../../src/protocol/resources.ts";
import type { StoredFile } from "../../src/queue/job.ts";
import { SpaceObject } from "../../src/space/space-object.ts";
import { fakeD1 } from "../catalog/d1.ts";
import { ADMIN, ANYBODY } from "../support/callers.ts";
import { QUIET_BINDINGS } from "../support/runtime/bindings.ts";
import { FakeBucket } from "../support/runtime/bucket.ts";
import { pass, settled } from "../support/runtime/globals.ts";
import { ObjectHost } from "../support/runtime/host.ts";
import type { FakeSocket, Frame } from "../support/runtime/socket.ts";

export const SPACE = "demo";

/** What a running attempt reports is stored after this time at the latest, milliseconds (decision 0070). */
export const STORED_MS = 1_000;
const LOCAL: Caller = { ...ADMIN, local: true };

type SocketOptions = Partial<Parameters<typeof socketHeaders>[0] & { kind: "subscriber" }> & {
  /** Who opens the socket; anybody if nothing is said. */
  as?: Partial<Caller>;
};

/** A space whose object runs in this process, as the Worker and its clients use it. */
export class SpaceHost {
  readonly bucket: FakeBucket;
  /** What the monitor was told, the latest last. */
  readonly reports: Report[];
  readonly host: ObjectHost<SpaceObject, Env>;

  private constructor(host: ObjectHost<SpaceObject, Env>, bucket: FakeBucket, reports: Report[]) {
    this.host = host;
    this.bucket = bucket;
    this.reports = reports;
  }

  /** Makes a space with these settings; `env` changes the edge's own. */
  static async make(
    settings: Partial<SpaceSettings> = {},
    env: Partial<Env> = {},
  ): Promise<SpaceHost> {
    const space = await SpaceHost.start(env);
    await space.object.create(SPACE, { ...DEFAULT_SETTINGS, ...settings }, true);
    await pass();
    return space;
  }

  /** Wakes a space whose rows these statements have stored. */
  static async stored(statements: readonly string[], env: Partial<Env> = {}): Promise<SpaceHost> {
    const space = await SpaceHost.start(env);
    for (const statement of statements) space.host.sql(statement);
    await space.host.hibernate();
    return space;
  }

  private static async start(env: Partial<Env>): Promise<SpaceHost> {
    const bucket = new FakeBucket();
    const reports: Report[] = [];
    const monitor = {
      report: async (_source: string, report: Report) => void reports.push(report),
      forget: async () => undefined,
    };
    const bindings = {
      ...QUIET_BINDINGS,
      MONITOR: { getByName: () => monitor },
      FILES: bucket,
      SUBMITS: { limit: async () => ({ success: true }) },
      SIGNING_KEY: "a-signing-key-for-tests",
      DB: fakeD1(),
      LOCAL: "true",
      MAY_STAND_STILL: "true",
      ...env,
    };
    const host = await ObjectHost.start(SpaceObject, bindings as unknown as Env, SPACE);
    return new SpaceHost(host, bucket, reports);
  }

  /** The object hibernates as soon as the runtime lets it: not before what it holds is stored. */
  async sleep(): Promise<void> {
    await pass(STORED_MS);
    await this.host.hibernate();
  }

  get object(): SpaceObject {
    return this.host.object;
  }

  /** Opens a worker's socket and reads `hello`. */
  async dial(options: { batch?: boolean; tokenId?: string } = {}): Promise<FakeSocket> {
    const headers = socketHeaders({
      kind: "worker",
      origin: "https://edge.test",
      tokenId: "token-1",
      ...options,
    });
    return this.opened(headers);
  }

  /** Opens a worker's socket and registers; reads the frames up to `registered`. */
  async connect(
    register: { worker_id?: string; [field: string]: unknown } = {},
  ): Promise<FakeSocket> {
    const worker = await this.dial();
    worker.push({ type: "register", worker_id: "worker-1", ...register });
    await pass();
    return worker;
  }

  /** Opens the socket of the space, or with `jobUlid` of one job. */
  async follow({ as, ...options }: SocketOptions = {}): Promise<FakeSocket> {
    const caller = { ...ANYBODY, ...as };
    return this.opened(
      socketHeaders({ kind: "subscriber", caller, ...options, acks: options.acks }),
    );
  }

  /** Opens the socket of one job. */
  followJob(id: string, options: SocketOptions = {}): Promise<FakeSocket> {
    return this.follow({ jobUlid: ulidOf(id), ...options });
  }

  /** Submits a job over HTTP; a refusal is an error with its code. */
  async submit(
    body: object = {},
    files: StoredFile[] = [],
    as: Partial<Caller> = LOCAL,
  ): Promise<string> {
    const [id] = await this.submitAll([body], files, as);
    if (id === undefined) throw new Error("no answer");
    return id;
  }

  /** Submits jobs in one batch over HTTP and returns their ids; those refused have the code instead. */
  async submitAll(
    bodies: object[],
    files: StoredFile[] = [],
    as: Partial<Caller> = LOCAL,
  ): Promise<string[]> {
    const calls = bodies.map((body) => {
      const { input, ...options } = submitJobBody.parse({ input: {}, ...body });
      return { input: JSON.stringify(input), files, options };
    });
    const replies = await settled(this.object.submit({ ...ANYBODY, ...as }, calls));
    return replies.map((reply) => {
      return reply.ok ? (JSON.parse(reply.body) as JobResource).id : reply.code;
    });
  }

  /** The job as `GET /api/jobs/:id` shows it; `null` if there is none. */
  async job(id: string): Promise<JobResource | null> {
    const reply = await this.object.job(LOCAL, ulidOf(id));
    return reply.ok ? JSON.parse(reply.body) : null;
  }

  /** The status of a job, with the code of its error. */
  async statusOf(id: string): Promise<string> {
    const job = await this.job(id);
    if (job === null) return "gone";
    return job.error === null ? job.status : `${job.status}: ${job.error.code}`;
  }

  async cancel(id: string): Promise<void> {
    await settled(this.object.cancel(LOCAL, ulidOf(id)));
  }

  async describe(): Promise<SpaceResource> {
    const reply = await this.object.describe(LOCAL);
    if (!reply.ok) throw new Error(reply.code);
    return JSON.parse(reply.body);
  }

  /** Sends a worker's frame about the first attempt of a job, or another one. */
  async report(worker: FakeSocket, job_id: string, frame: Frame): Promise<void> {
    worker.push({ job_id, attempt: 1, ...frame });
    await pass();
  }

  /** The worker completes the job. */
  complete(worker: FakeSocket, id: string, output: unknown = null, attempt = 1): Promise<void> {
    return this.report(worker, id, { type: "result", output, attempt });
  }

  private async opened(headers: Headers): Promise<FakeSocket> {
    const socket = await this.host.open(headers);
    if (typeof socket === "string") throw new Error(socket);
    await pass();
    return socket;
  }
}

export function ulidOf(id: string): string {
  return id.slice(SPACE.length + 1);
}

export function file(name: string, more: Partial<StoredFile> = {}): StoredFile {
  const key = `spaces/${SPACE}/${name}`;
  return { field: "file", name, content_type: "text/plain", size: 3, sha256: name, key, ...more };
}

/** Sends a frame and returns what comes of it. */
export async function ask(socket: FakeSocket, frame: object | string): Promise<Frame[]> {
  socket.take();
  socket.push(frame);
  await pass();
  return socket.take();
}

/** Submits a job over the socket of the space and returns its id. */
export async function submitOver(socket: FakeSocket, more: object = {}): Promise<string> {
  const frames = await ask(socket, { type: "submit", ref: 1, input: {}, ...more });
  return String(frames.find(({ type }) => type === "accepted")?.job_id);
}

/** The types of the frames that came since the socket was last read. */
export function typesOf(socket: FakeSocket): string[] {
  return socket.take().map(({ type }) => type);
}
