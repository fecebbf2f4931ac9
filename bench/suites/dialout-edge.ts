import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { OBJECTS, ROOT } from "../../scripts/local.ts";
import type { SpaceResource, SpaceSettings } from "../../src/protocol/resources.ts";
import { bundles } from "../bundles.ts";
import type { Program } from "../program.ts";
import type { EdgeCalls } from "../programs/edge.ts";
import type { LoadCalls } from "../programs/load.ts";
import type { WorkCalls } from "../programs/work.ts";
import type { Stage } from "../stage.ts";
import type { Usage } from "../usage.ts";

const SPACE = "bench";
/** As many as a space may allow: the benchmark must never be what fills the queue. */
const MAX_QUEUE = 1_000_000;

/** Dialout in workerd with one space. */
export class DialoutEdge {
  private readonly stage: Stage;
  private readonly url: string;
  private readonly operatorKey: string;

  private constructor(stage: Stage, url: string, operatorKey: string) {
    this.stage = stage;
    this.url = url;
    this.operatorKey = operatorKey;
  }

  /** `metered` counts what would be billed. */
  static async start(
    stage: Stage,
    settings: Partial<SpaceSettings> = {},
    bundle: "dialout" | "metered" = "dialout",
    inspectorPort?: number,
  ): Promise<DialoutEdge> {
    const operatorKey = randomBytes(24).toString("base64url");
    const url = await stage.launch<EdgeCalls>("edge.ts").call("start", {
      script: bundles()[bundle],
      objects: OBJECTS,
      folder: stage.path("state"),
      settings: {
        OPERATOR_KEY: operatorKey,
        SIGNING_KEY: randomBytes(24).toString("base64url"),
        // Miniflare's stand-in for the counters of submits costs what Cloudflare's does not.
        LOCAL: "true",
      },
      migrations: join(ROOT, "migrations"),
      inspectorPort,
    });
    const edge = new DialoutEdge(stage, url, operatorKey);
    await edge.ask("POST", "/api/spaces", { name: SPACE, max_queue: MAX_QUEUE, ...settings });
    return edge;
  }

  get jobsUrl(): string {
    return `${this.url}/api/spaces/${SPACE}/jobs`;
  }

  /** A submitter in a process of its own, over the space's socket. */
  async connectLoad(): Promise<Program<LoadCalls>> {
    const load = this.stage.launch<LoadCalls>("load.ts");
    await load.call("connect", { kind: "dialout", url: `${this.url}/api/spaces/${SPACE}/ws` });
    return load;
  }

  async connectWorker(concurrency: number, held = false): Promise<Program<WorkCalls>> {
    const tokens = `/api/spaces/${SPACE}/tokens`;
    const { token } = await this.ask<{ token: string }>("POST", tokens, { name: "bench" });
    const worker = this.stage.launch<WorkCalls>("work.ts");
    const url = `${this.url}/api/spaces/${SPACE}/connect`;
    await worker.call("start", { kind: "dialout", url, token, concurrency, held });
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
        authorization: `Bearer ${this.operatorKey}`,
        "content-type": "application/json",
      },
      body: body ? JSON.stringify(body) : undefined,
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
    return (await response.json()) as T;
  }
}
