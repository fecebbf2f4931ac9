import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, it, onTestFinished } from "vitest";
import { ROOT } from "../../scripts/local.ts";
import type { SpaceResource } from "../../src/protocol/resources.ts";
import { FakeOpenAi } from "../support/fake-openai.ts";
import { EdgeClient } from "./client.ts";

const edge = new EdgeClient(inject("edgeUrl"));

/** The Python program of docs/workers.md in a file, after `before`. */
async function sample(before = ""): Promise<string> {
  const page = await readFile(join(ROOT, "docs/workers.md"), "utf8");
  const code = /### `--keep`[\s\S]*?```python\n([\s\S]*?)```/.exec(page)?.[1];
  if (code === undefined) throw new Error("docs/workers.md has no program for --keep");
  const folder = await mkdtemp(join(tmpdir(), "kept-model-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "model.py");
  await writeFile(path, before + code);
  return path;
}

async function workerOf(space: string): Promise<string> {
  const answer = await edge.call("GET", `/api/spaces/${space}`);
  return ((await answer.json()) as SpaceResource).status.worker;
}

it("the sample of the docs serves jobs from one process, and the space has a worker only once it is ready", async () => {
  const space = await edge.makeSpace();
  const path = await sample("import time\ntime.sleep(3)\n");
  const worker = edge.launchWorker(space, ["exec", "--keep", "--", "python3", path]);
  expect(await workerOf(space.name)).toBe("disconnected");
  await worker.prints("the program is ready after 3.");
  await worker.prints("serving");
  for (const prompt of ["one two", "three"]) {
    const begun = performance.now();
    const { id } = await edge.submit(space.name, { prompt });
    const job = await edge.ended(id);
    expect(job).toMatchObject({
      status: "completed",
      result: { words: prompt.split(" ").length },
      output: `${prompt.toUpperCase()} `,
    });
    // Far less than the 3 seconds that loading takes.
    expect(performance.now() - begun).toBeLessThan(1_500);
  }
  expect(await worker.stop()).toBe(0);
});

it("a program that dies leaves the space without a worker until it is ready again, and fails its job only", async () => {
  const space = await edge.makeSpace();
  const folder = await mkdtemp(join(tmpdir(), "kept-model-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const dead = join(folder, "dead");
  // Once it has died, it is ready again only when the test removes the file.
  const program = `
    const fs = require("node:fs");
    const say = (frame) => console.log(JSON.stringify(frame));
    const timer = setInterval(() => {
      if (fs.existsSync(${JSON.stringify(dead)})) return;
      clearInterval(timer);
      say({ type: "ready" });
    }, 50);
    process.stdin.setEncoding("utf8").on("data", (line) => {
      const { id, input } = JSON.parse(line);
      if (!input.die) return say({ type: "result", id, output: "alive" });
      fs.writeFileSync(${JSON.stringify(dead)}, "");
      process.exit(3);
    });`;
  const worker = await edge.startWorker(space, ["exec", "--keep", "--", "node", "-e", program]);
  const { id } = await edge.submit(space.name, { die: true });
  expect((await edge.ended(id)).error?.message).toBe("The program exited with code 3.");
  await worker.prints(/draining \(the program exited with code 3, and is started again\)/);
  await expect.poll(() => workerOf(space.name)).toBe("disconnected");
  await rm(dead);
  await worker.prints(/ready after[\s\S]*ready after[\s\S]*serving/);
  const { id: next } = await edge.submit(space.name, {});
  expect(await edge.ended(next)).toMatchObject({ status: "completed", result: "alive" });
  expect(await worker.stop()).toBe(0);
});

it("a language model behind an OpenAI-compatible server is served by one command", async () => {
  const space = await edge.makeSpace();
  const server = await FakeOpenAi.start();
  onTestFinished(() => server.close());
  const worker = await edge.startWorker(space, ["openai", server.url.href]);
  const { id } = await edge.submit(space.name, { prompt: "Hello" });
  const chat = await server.chat();
  chat.begin();
  chat.delta({ content: "Hi" });
  chat.delta({}, "stop");
  chat.end();
  expect(await edge.ended(id)).toMatchObject({
    status: "completed",
    output: "Hi",
    result: { text: "Hi", finish_reason: "stop", model: "llama3.2" },
  });
  expect(await worker.stop()).toBe(0);
});
