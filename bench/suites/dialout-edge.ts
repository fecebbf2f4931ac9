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
/** As many as a space may allow: the benchmark must never be what fills the queue. */
const MAX_QUEUE = 1_000_000;

interface Secrets {
  operatorKey: string;
  /** Signs the tokens of users. */
  jwtSecret: string;
}

/** Dialout in workerd with one space. */
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

  /** `metered` counts what would be billed. */
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
        // Miniflare's stand-in for the counters of submits costs what Cloudflare's does not.
        LOCAL: "true",
      },
      migrations: join(ROOT, "migrations"),
      inspectorPort,
    });
    const edge = new DialoutEdge(sandbox, program, url, secrets);
    await edge.ask("POST", "/api/spaces", { name: SPACE, max_queue: MAX_QUEUE, ...settings });
    return edge;
  }

  get jobsUrl(): string {
    return `${this.url}/api/spaces/${SPACE}/jobs`;
  }

  /** Where rooms are, and what signs tokens for them. */
  get room(): { url: string; secret: string } {
    return { url: this.url, secret: this.secrets.jwtSecret };
  }

  /** What workerd holds in memory, bytes. */
  memory(): Promise<number> {
    return this.program.call("memory", undefined);
  }

  /** A submitter in a process of its own, over the space's socket; `inBatches`: frames of a moment go as one. */
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
    const { token } = await this.ask<{ token: string }>("POST", tokens, { name: "bench" });
    const worker = this.sandbox.launch<WorkerCalls>("worker.ts");
    const url = `${this.url}/api/spaces/${SPACE}/connect${queryOf(inBatches)}`;
    await worker.call("start", { kind: "dialout", url, token, concurrency, holdResults, runMs });
    return worker;
  }

  async queueSize(): Promise<number> {
    const { status } = await this.ask<SpaceResource>("GET", `/api/spaces/${SPACE}`);
    return status.queue_size;
  }

  /** Of a metered edge. */
  usage(): Promise<Usage> {
    return this.ask("GET", `/usage/${SPACE}`);
  }

  private async ask<T>(method: string, path: string, body?: object): Promise<T> {
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
