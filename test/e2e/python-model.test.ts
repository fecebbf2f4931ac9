import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../support/port.ts";
import { PYTHON, PYTHON_ENV } from "../support/python-package.ts";
import { runBareEdge } from "./bare-edge.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState } from "./edge.ts";
import { launchPythonModel } from "./python.ts";

const run = promisify(execFile);
const MODELS = join(import.meta.dirname, "package_models.py");

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

async function serve(model: string, settings: object = {}, args: string[] = []) {
  const space = await client.makeSpace({ enable_file_upload: true, ...settings });
  const at = { url: edge.url, space: space.name, token: space.token };
  const worker = launchPythonModel(at, `${MODELS}:${model}`, args);
  await worker.prints("connected");
  return { space: space.name, worker, at };
}

/** Runs a program with the Python client; `argv` is the edge and the space. */
async function python(code: string, space: string): Promise<string> {
  const args = ["-c", `import sys, dialout\n${code}`, edge.url, space];
  return (await run(PYTHON, args, { env: { ...process.env, ...PYTHON_ENV } })).stdout.trim();
}

describe("a Python function, served and called with the Python package", () => {
  it("streams and returns, and the client gets both", async () => {
    const { space } = await serve("count");
    const code = `job = dialout.Client(sys.argv[1]).space(sys.argv[2]).submit(to=3, pause=0.01)
print(list(job.stream()), job.result(), job.output, job.status)`;
    expect(await python(code, space)).toBe("[0, 1, 2] [0, 1, 2] [0, 1, 2] completed");
  });

  it("keeps every digit both ways (H18)", async () => {
    const { space } = await serve("echo");
    const code = `value = {"n": 2**200 + 1, "f": 1.0, "s": "\\u2028 ä"}
result = dialout.Client(sys.argv[1]).space(sys.argv[2]).submit(value).result()
print(result == value, result["f"].__class__.__name__)`;
    expect(await python(code, space)).toBe("True float");
  });

  it("makes its parameters the space's schema, by which submits are checked (W35, H27)", async () => {
    const { space } = await serve("repeat");
    const { schema } = (await (await client.call("GET", `/api/spaces/${space}`)).json()) as {
      schema: unknown;
    };
    expect(schema).toMatchObject({
      version: 1,
      input: {
        type: "object",
        required: ["text"],
        properties: {
          text: { type: "string" },
          times: { type: "integer", minimum: 1, maximum: 10, default: 2, description: "How often" },
        },
      },
      output: { type: "string" },
    });
    const code = `space = dialout.Client(sys.argv[1]).space(sys.argv[2])
print(space.submit(text="ab").result(), space.submit(text="ab", times=3).result())
try:
    space.submit(text="ab", times=99)
except dialout.ClientError as error:
    print(error.code, error.errors[0]["path"])`;
    expect(await python(code, space)).toBe("abab ababab\ninvalid_input /input/times");
  });

  it("takes files of 12 MB and gives them back as they were (W36, H28)", async () => {
    const { space } = await serve("reverse", { enable_file_upload: false });
    const code = `import os
data = os.urandom(12_000_000)
space = dialout.Client(sys.argv[1]).space(sys.argv[2])
job = space.submit(file=dialout.NamedBytes("grün.bin", data), copies=2)
print(job.result(), [file.name for file in job.outputs])
print(all(file.read() == data[::-1] for file in job.outputs))`;
    const names = "['reversed.bin', 'reversed-2.bin']";
    expect(await python(code, space)).toBe(`${names} ${names}\nTrue`);
  });

  it("adds no more than 20 ms to a job of a model that takes 3 s to load", async () => {
    const { space } = await serve("Loaded");
    const code = `import time
space = dialout.Client(sys.argv[1]).space(sys.argv[2])
times = []
for n in range(8):
    begun = time.monotonic()
    job = space.submit(n=n)
    job.wait()
    found = job.get()
    times.append((time.monotonic() - begun) * 1000)
print(found["result"], round(sorted(times)[0]), round(sorted(times)[4]))`;
    const [result, best] = (await python(code, space)).split(" ").map(Number);
    expect(result).toBe(14);
    // Two more requests of the client are among it, each with a connection of its own.
    expect(best).toBeLessThan(40);
  });

  it("goes on with its job when the edge is killed and restarted (W24, W26)", async () => {
    const { space, worker } = await serve("count", { reconnect_grace_s: 120 });
    const { id } = await client.submit(space, { to: 40, pause: 0.05 });
    await expect
      .poll(async () => (await client.job(id)).output, { timeout: 20_000 })
      .not.toBeNull();
    await edge.program.killAll();
    await worker.prints("trying again in");
    edge = await runBareEdge(state, Number(new URL(edge.url).port));
    await worker.prints(/trying again.*connected: serving/s);
    const numbers = Array.from({ length: 40 }, (_, number) => number);
    expect(await client.ended(id)).toMatchObject({
      status: "completed",
      attempt: 1,
      output: numbers,
      result: numbers,
    });
  });

  it("is refused for good by the edge alone, and says why (W3, W4)", async () => {
    const { at } = await serve("echo");
    const wrong = launchPythonModel({ ...at, token: "dow_wrong" }, `${MODELS}:echo`);
    expect(await wrong.exited).toBe(1);
    expect(wrong.printed).toMatch(/ERROR stopping: .*token/);
    expect(wrong.printed).not.toContain("dow_wrong");
  });

  it("drains when it is stopped (W28)", async () => {
    const { space, worker } = await serve("slow_echo");
    const { id } = await client.submit(space, { a: 1 });
    await worker.prints("received");
    expect(await worker.stop("SIGTERM")).toBe(0);
    expect(worker.printed).toContain("1 received, 1 completed");
    expect(await client.job(id)).toMatchObject({ status: "completed", result: { a: 1 } });
  });
});
