import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { operatorKey, ROOT, secret } from "../../scripts/local.ts";
import type { JobResource } from "../../src/protocol/resources.ts";
import { freePort } from "../support/port.ts";
import { Program } from "../support/program.ts";
import { tokenOf } from "../support/tokens.ts";
import { EdgeClient } from "./client.ts";
import { launchEdge, makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";
import { paste, sampleOf } from "./samples.ts";

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

  const readme = (words: string) => paste(sampleOf("README.md", words), edge.url);

  it("answers the curl commands of the README as it says", async () => {
    const text: JobResource = JSON.parse(await readme("Prefer: wait=30' \\\n  -d"));
    expect(text).toMatchObject({ status: "completed", result: { sentences: 2 } });
    const image: JobResource = JSON.parse(await readme("words.png"));
    expect(image).toMatchObject({ status: "completed" });
    expect(image.output).toContain("Remote workers dial out");
    const followed = await readme("/events");
    expect(followed).toContain("event: output");
    expect(followed).toContain('"status":"completed"');
    // Its own checks, one a second, would fill the log.
    expect(edge.program.printed).toContain("POST /api/spaces/demo/jobs");
    expect(edge.program.printed).not.toContain("/healthz");
  });

  it("runs the commands of docs/api.md as it says", async () => {
    const streamed = await paste(sampleOf("docs/api.md", "Stop me."), edge.url);
    expect(streamed).toContain('"status":"completed"');
    const [job, canceled] = (await paste(sampleOf("docs/api.md", "/cancel"), edge.url))
      .split(/(?<=\})(?=\{"id")/)
      .map((text): JobResource => JSON.parse(text));
    expect(job?.id).toMatch(/^demo\./);
    expect(canceled?.id).toBe(job?.id);
  });

  it("runs the commands of docs/rooms.md, docs/jobs.md and docs/monitoring.md as they say", async () => {
    const room = ["npm run -s token", "update-7", "/history"].map((words) =>
      sampleOf("docs/rooms.md", words),
    );
    const printed = await paste(`${room.join("\n").trimEnd()} || true`, edge.url);
    expect(printed).toContain('"repeated":false');
    expect(printed).toMatch(/"events":\[\{.*"title":"New"/);
    expect(printed).toContain("event: connection");
    const token = await tokenOf(secret("JWT_SECRET"), "alice", { rooms: ["project:*"] });
    const follow = sampleOf("docs/rooms.md", "new WebSocket", "js").replace("8787", String(port));
    const follower = new Program("-e", [`const token = "${token}";${follow}`]);
    onTestFinished(() => follower.killAll());
    await follower.prints("type: 'subscribed'");
    const report = sampleOf("docs/jobs.md", "frame 12").replace("KEY=…", `KEY=${operatorKey()}`);
    expect(await paste(report, edge.url)).toMatch(/"status":"completed".*"frames":30/);
    const numbers = sampleOf("docs/monitoring.md", "/metrics").replaceAll(
      "127.0.0.1:8787",
      `127.0.0.1:${port}`,
    );
    const watching = new Program("-c", [numbers], {}, "bash");
    onTestFinished(() => watching.killAll());
    await watching.prints('"type":"system_status"');
    expect(watching.printed).toContain("dialout_jobs_active");
  });

  it("serves a model of one's own as README.md and docs/workers.md say", async () => {
    onTestFinished(() => rm(join(ROOT, "shout.token"), { force: true }));
    await readme("> shout.token");
    const env = { DIALOUT_URL: edge.url };
    const started = new Program(
      "-c",
      [sampleOf("README.md", "npx dialout-worker exec")],
      env,
      "bash",
    );
    onTestFinished(() => started.killAll());
    await started.prints("serving the space shout");
    const client = new EdgeClient(edge.url);
    const { id } = await client.submit("shout", { prompt: "a cat" });
    expect(await client.ended(id)).toMatchObject({ status: "completed", output: "A CAT\n" });

    const space = await client.makeSpace({ max_workers: 3 });
    const python = sampleOf("docs/workers.md", "json.load(sys.stdin)", "python");
    const exec = await client.startWorker(space, ["exec", "--", "/usr/bin/python3", "-c", python]);
    const words = await client.submit(space.name, { prompt: "a cat" });
    expect(await client.ended(words.id)).toMatchObject({ status: "completed", output: "A CAT " });
    await exec.stop();

    const code = sampleOf("docs/workers.md", "worker-client/index.ts", "ts")
      .replace("./worker-client", join(ROOT, "worker-client"))
      .replace("my-space", space.name);
    const script = join(state, "worker.ts");
    await writeFile(script, code);
    const token = { ...env, DIALOUT_TOKEN: space.token };
    const worker = new Program(script, [], token);
    onTestFinished(() => worker.killAll());
    const { id: last } = await expect
      .poll(() => client.submit(space.name, { prompt: "a cat" }).catch(() => null), {
        timeout: 20_000,
      })
      .not.toBeNull()
      .then(() => client.submit(space.name, { prompt: "a cat" }));
    expect(await client.ended(last)).toMatchObject({ status: "completed", result: "A CAT " });
    expect(await worker.stop()).toBe(0);
    expect(worker.printed).toContain("completed: 2");
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
