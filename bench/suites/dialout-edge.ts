import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { OBJECTS, ROOT } from "../../scripts/local.ts";
import type { SpaceResource, SpaceSettings } from "../../src/protocol/resources.ts";
import { bundles } from "../bundles.ts";
import type { ChildProgram } from "../child-program.ts";
import type { EdgeCalls } from "../programs/edge.ts";
import type { LoadCalls } from "../programs/load.ts";
import type { WorkerCalls } from "../programs/worker.ts";
import type { Sandbox } from "../sandbox.ts";
import type { Usage } from "../usage.ts";

const SPACE = "bench";
/** The largest setting there is: the queue must never be full. */
const MAX_QUEUE = 1_000_000;

interface Secrets {
  operatorKey: string;
  /** The key that users' tokens are signed with. */
  jwtSecret: string;
}

/** Runs Dialout in workerd, with one space. */
export class DialoutEdge {
  private readonly sandbox: Sandbox;
  private readonly program: ChildProgram<EdgeCalls>;
  private readonly url: string;
  private readonly secrets: Secrets;

  private constructor(
    sandbox: Sandbox,
    program: ChildProgram<EdgeCalls>,
    url: string,
    secrets: Secrets,
  ) {
    this.sandbox = sandbox;
    this.program = program;
    this.url = url;
    this.secrets = secrets;
  }

  /** The bundle `metered` counts what would be billed, see `usage`. */
  static async start(
    sandbox: Sandbox,
    settings: Partial<SpaceSettings> = {},
    bundle: "dialout" | "metered" = "dialout",
    inspectorPort?: number,
  ): Promise<DialoutEdge> {
    const secrets = { operatorKey: randomSecret(), jwtSecret: randomSecret() };
    const program = sandbox.launch<EdgeCalls>("edge.ts");
    const url = await program.call("start", {
      script: bundles()[bundle],
      objects: OBJECTS,
      folder: sandbox.path("state"),
      settings: {
        OPERATOR_KEY: secrets.operatorKey,
        JWT_SECRET: secrets.jwtSecret,
        SIGNING_KEY: randomSecret(),
        // Switches off the limit on submits by address: Miniflare's stand-in costs more than a submit.
        LOCAL: "true",
      },
      migrations: join(ROOT, "migrations"),
      inspectorPort,
    });
    const edge = new DialoutEdge(sandbox, program, url, secrets);
    await edge.request("POST", "/api/spaces", { name: SPACE, max_queue: MAX_QUEUE, ...settings });
    return edge;
  }

  get jobsUrl(): string {
    return `${this.url}/api/spaces/${SPACE}/jobs`;
  }

  /** The origin of rooms, and the key that tokens for them are signed with. */
  get room(): { url: string; secret: string } {
    return { url: this.url, secret: this.secrets.jwtSecret };
  }

  /** Resolves with the bytes that workerd holds in memory. */
  memory(): Promise<number> {
    return this.program.call("memory", undefined);
  }

  /** Starts a submitter program on the space's socket; `inBatches` puts many frames in a message. */
  async connectLoad(inBatches = true): Promise<ChildProgram<LoadCalls>> {
    const load = this.sandbox.launch<LoadCalls>("load.ts");
    const url = `${this.url}/api/spaces/${SPACE}/ws${queryOf(inBatches)}`;
    await load.call("connect", { kind: "dialout", url });
    return load;
  }

  async connectWorker(
    concurrency: number,
    { holdResults = false, inBatches = true, runMs = 0 } = {},
  ): Promise<ChildProgram<WorkerCalls>> {
    const tokens = `/api/spaces/${SPACE}/tokens`;
    const { token } = await this.request<{ token: string }>("POST", tokens, { name: "bench" });
    const worker = this.sandbox.launch<WorkerCalls>("worker.ts");
    const url = `${this.url}/api/spaces/${SPACE}/connect${queryOf(inBatches)}`;
    await worker.call("start", { kind: "dialout", url, token, concurrency, holdResults, runMs });
    return worker;
  }

  async queueSize(): Promise<number> {
    const { status } = await this.request<SpaceResource>("GET", `/api/spaces/${SPACE}`);
    return status.queue_size;
  }

  /** Needs an edge with the bundle `metered`. */
  usage(): Promise<Usage> {
    return this.request("GET", `/usage/${SPACE}`);
  }

  private async request<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        authorization: `Bearer ${this.secrets.operatorKey}`,
        "content-type": "application/json",
      },
      body: body ? JSON.stringify(body) : undefined,
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
    return (await response.json()) as T;
  }
}

function randomSecret(): string {
  return randomBytes(24).toString("base64url");
}

function queryOf(inBatches: boolean): string {
  return inBatches ? "?batch=1" : "";
}
