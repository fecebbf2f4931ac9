import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../scripts/local.ts";
import { freePort } from "../support/port.ts";
import { runBareEdge } from "./bare-edge.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState } from "./edge.ts";
import { launchPythonWorker, PYTHON_WORKER } from "./python.ts";

let state: string;
let edge: RunningEdge;
let client: EdgeClient;

beforeAll(async () => {
  state = await makeState();
  edge = await runBareEdge(state, await freePort());
  client = new EdgeClient(edge.url);
});
afterAll(async () => {
  await edge.program.killAll();
  await removeState(state);
});

async function serve(settings: object = {}, script?: string) {
  const space = await client.makeSpace({ enable_file_upload: true, ...settings });
  const worker = launchPythonWorker(
    { url: edge.url, space: space.name, token: space.token },
    { script },
  );
  await worker.prints("connected");
  return { space: space.name, worker };
}

describe("the Python worker of docs/protocol.md", () => {
  it("streams the words of a prompt and fetches a file, as it stands there", async () => {
    const { space } = await serve({}, PYTHON_WORKER);
    const form = new FormData();
    form.set("prompt", "a cat");
    form.set("file", new File(["12345"], "five.txt"));
    const address = `${edge.url}/api/spaces/${space}/jobs`;
    const response = await fetch(address, { method: "POST", body: form });
    const { id } = (await response.json()) as { id: string };
    expect(await client.ended(id)).toMatchObject({
      status: "completed",
      output: "A CAT ",
      result: { words: 2, files: [5] },
    });
  });

  it("has the function in the page that it has in the file", () => {
    const page = readFileSync(join(ROOT, "docs/protocol.md"), "utf8");
    const [, shown = "nothing"] = /```python\n(def perform.*?)```/s.exec(page) ?? [];
    expect(readFileSync(PYTHON_WORKER, "utf8")).toContain(shown);
  });

  it("fails a job whose end can't be sent, with the reason, and serves the next one (C3, W18)", async () => {
    const { space, worker } = await serve();
    const failures: [string, RegExp][] = [
      ["nan", /^The result can't be sent as JSON: Out of range float/],
      ["infinity", /^The result can't be sent as JSON: Out of range float/],
      ["bytes", /^The result can't be sent as JSON: Object of type bytes/],
      ["set", /^The result can't be sent as JSON: Object of type set/],
      ["object", /^The result can't be sent as JSON: Object of type object/],
      ["keys", /^The result can't be sent as JSON: keys must be str/],
      ["deep", /^The result can't be sent as JSON: it is nested too deep\.$/],
      ["very deep", /^The result can't be sent as JSON: it is nested too deep\.$/],
      ["circular", /^The result can't be sent as JSON: it is nested too deep\.$/],
      ["large", /^The result takes 1,200,\d\d\d bytes; the edge accepts 1,048,576\.$/],
      ["more digits", /^The result can't be sent as JSON: Exceeds the limit/],
      ["piece", /^A piece of output can't be sent as JSON/],
      ["raise", /^RuntimeError: x{1000}/],
      ["open", /^The model failed \(FileNotFoundError\): the worker's log says why\.$/],
      ["raise silently", /^Unspeakable: <exception str\(\) failed>$/],
      ["exit", /^SystemExit: the model gave up$/],
    ];
    for (const [model, message] of failures) {
      const job = await client.ended((await client.submit(space, { model })).id);
      expect(job, model).toMatchObject({ status: "failed", error: { code: "worker_error" } });
      expect(job.error?.message, model).toMatch(message);
    }
    for (const model of ["half a pair", "digits", "tuple", "progress"]) {
      const job = await client.ended((await client.submit(space, { model })).id);
      expect(job.status, model).toBe("completed");
    }
    expect(worker.printed.match(/connected/g)).toHaveLength(1);
  });

  it("takes any input that the edge accepts (H18)", async () => {
    const { space, worker } = await serve();
    const long = "1".repeat(5_000);
    const address = `${edge.url}/api/spaces/${space}/jobs`;
    const headers = { "content-type": "application/json" };
    const inputs = [
      `{"model":"echo","n":18446744073709551615,"t":"\\ud800"}`,
      `{"model":"nan","n":${long},"f":1e400}`,
    ];
    for (const input of inputs) {
      const response = await fetch(address, {
        method: "POST",
        headers,
        body: `{"input":${input}}`,
      });
      const { id } = (await response.json()) as { id: string };
      const job = await client.ended(id);
      expect(job.status).toBe(input.includes("echo") ? "completed" : "failed");
    }
    expect(worker.printed.match(/connected/g)).toHaveLength(1);
  });

  it("lets the edge try again what may succeed then (W19)", async () => {
    const { space } = await serve({ max_attempts: 2 });
    const job = await client.ended((await client.submit(space, { model: "busy" })).id);
    expect(job).toMatchObject({ status: "failed", attempt: 2 });
    expect(job.error?.message).toContain("The GPU is busy.");
  });

  it("goes on with its job when the edge is killed and restarted (W24, W26)", async () => {
    const { space, worker } = await serve({ reconnect_grace_s: 120 });
    const input = { model: "count", to: 40, pause: 0.05 };
    const { id } = await client.submit(space, input);
    await expect
      .poll(async () => (await client.job(id)).output, { timeout: 20_000 })
      .not.toBeNull();
    await edge.program.killAll();
    await worker.prints(/disconnected .1006.*dialing again in/s);
    edge = await runBareEdge(state, Number(new URL(edge.url).port));
    await worker.prints(/disconnected.*connected: serving/s);
    expect(await client.ended(id)).toMatchObject({
      status: "completed",
      attempt: 1,
      output: Array.from({ length: 40 }, (_, number) => number),
      result: 40,
    });
  });
});
