import { join } from "node:path";
import { onTestFinished } from "vitest";
import { operatorKey, ROOT } from "../../scripts/local.ts";
import type { JobResource, SpaceResource, SpaceSettings } from "../../src/protocol/resources.ts";
import { Program } from "../support/program.ts";

const WORKER = join(ROOT, "dist/worker-client/cli.js");

/** Requests and worker programs that tests use with the edge at `url`. */
export class EdgeClient {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const type: Record<string, string> =
      body === undefined ? {} : { "content-type": "application/json" };
    return fetch(this.url + path, {
      method,
      headers: { ...type, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  async asOperator<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers = { authorization: `Bearer ${operatorKey()}` };
    const response = await this.call(method, path, body, headers);
    if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
    return (await response.json()) as T;
  }

  async makeSpace(settings: Partial<SpaceSettings> = {}) {
    const name = `space-${crypto.randomUUID().slice(0, 8)}`;
    await this.asOperator<SpaceResource>("POST", "/api/spaces", { name, ...settings });
    const { token } = await this.asOperator<{ token: string }>(
      "POST",
      `/api/spaces/${name}/tokens`,
      { name: "test" },
    );
    return { name, token };
  }

  async submit(space: string, input: object): Promise<JobResource> {
    const response = await this.call("POST", `/api/spaces/${space}/jobs`, { input });
    if (response.status !== 202) throw new Error(await response.text());
    return (await response.json()) as JobResource;
  }

  async job(id: string): Promise<JobResource> {
    return (await (await this.call("GET", `/api/jobs/${id}`)).json()) as JobResource;
  }

  /** Waits until the job has ended, when its event stream ends too, and returns it. */
  async ended(id: string): Promise<JobResource> {
    await (await this.call("GET", `/api/jobs/${id}/events`)).text();
    return this.job(id);
  }

  /** Starts `dialout-worker` and waits until it is connected; it is killed when the test ends. */
  async startWorker(space: { name: string; token: string }, args: string[]): Promise<Program> {
    const worker = this.launchWorker(space, args);
    await worker.prints("serving");
    return worker;
  }

  launchWorker(space: { name: string; token: string }, args: string[]): Program {
    const [command = "demo", ...rest] = args;
    const common = ["--url", this.url, "--space", space.name];
    const worker = new Program(WORKER, [command, ...common, ...rest], {
      DIALOUT_TOKEN: space.token,
    });
    onTestFinished(async () => {
      await worker.stop("SIGKILL");
    });
    return worker;
  }
}
