import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../scripts/local.ts";
import type { JobResource } from "../../src/protocol/resources.ts";
import { freePort } from "../support/port.ts";
import { EdgeClient } from "./client.ts";
import { launchEdge, makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";

const run = promisify(execFile);

describe("npm start", () => {
  let state: string;
  let port: number;
  let edge: RunningEdge;

  beforeAll(async () => {
    state = await makeState();
    port = await freePort();
    edge = await start();
  });
  afterAll(async () => {
    await edge.program.stop();
    await removeState(state);
  });

  async function start(): Promise<RunningEdge> {
    const started = await runEdge(state, port, []);
    await started.program.prints("serving the space demo");
    return started;
  }

  /** Runs the block of the README that contains `words`, as its reader would paste it. */
  async function paste(words: string): Promise<string> {
    const readme = readFileSync(join(ROOT, "README.md"), "utf8");
    const blocks = [...readme.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block ?? "");
    const block = blocks.find((candidate) => candidate.includes(words));
    if (block === undefined) throw new Error(`the README has no block with "${words}"`);
    const here = block.replaceAll("127.0.0.1:8787", `127.0.0.1:${port}`);
    return (await run("bash", ["-euo", "pipefail", "-c", here], { cwd: ROOT })).stdout;
  }

  it("answers the curl commands of the README as it says", async () => {
    const text: JobResource = JSON.parse(await paste("Prefer: wait=30' \\\n  -d"));
    expect(text).toMatchObject({ status: "completed", result: { sentences: 2 } });
    const image: JobResource = JSON.parse(await paste("words.png"));
    expect(image).toMatchObject({ status: "completed" });
    expect(image.output).toContain("Remote workers dial out");
    const followed = await paste("/events");
    expect(followed).toContain("event: output");
    expect(followed).toContain('"status":"completed"');
    // Its own checks, one a second, would fill the log.
    expect(edge.program.printed).toContain("POST /api/spaces/demo/jobs");
    expect(edge.program.printed).not.toContain("/healthz");
  });

  it("ends in order on Ctrl-C, and still has its jobs after a restart", async () => {
    const client = new EdgeClient(edge.url);
    const { id } = await client.submit("demo", { prompt: "This is kept." });
    await client.ended(id);
    const running = await client.submit("demo", { prompt: "So is this. ".repeat(20) });
    expect(await edge.program.stop("SIGINT")).toBe(0);
    expect(edge.program.printed).toContain("jobs to finish: 1");
    await expect(fetch(edge.url)).rejects.toThrow();
    edge = await start();
    for (const job of [id, running.id]) {
      expect(await client.job(job)).toMatchObject({ status: "completed", attempt: 1 });
    }
  });

  it.each(["workerd", "wrangler"])(
    "restarts the edge by itself when %s was killed",
    async (what) => {
      const client = new EdgeClient(edge.url);
      const { id } = await client.submit("demo", { prompt: "This one is kept. ".repeat(10) });
      edge.program.killStarted(what);
      await edge.program.prints(/not answer: starting it again.*serving the space demo/s);
      await expect
        .poll(async () => (await client.job(id)).status, { timeout: 30_000 })
        .toBe("completed");
      await edge.program.stop();
      edge = await start();
    },
  );

  it("tries again when the edge ends before it is up", async () => {
    const other = await makeState();
    const { program } = launchEdge(other, await freePort());
    await program.prints("Your Worker has access");
    program.killStarted("wrangler");
    await program.prints(/Trying once more.*Dialout is up/s);
    await program.stop();
    await removeState(other);
  });

  it("reports that its port is in use", async () => {
    await expect(runEdge(state, port)).rejects.toThrow(`Port ${port} is in use`);
  });
});
