import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, inject, it } from "vitest";
import { PYTHON, PYTHON_ENV } from "../support/python-package.ts";
import { EdgeClient } from "./client.ts";
import { launchPythonModel } from "./python.ts";

const run = promisify(execFile);
const MODELS = join(import.meta.dirname, "package_models.py");

async function serve(model: string): Promise<{ client: EdgeClient; space: string }> {
  const client = new EdgeClient(inject("edgeUrl"));
  const space = await client.makeSpace();
  const at = { url: client.url, space: space.name, token: space.token };
  const worker = launchPythonModel(at, `${MODELS}:${model}`);
  await worker.prints("connected");
  return { client, space: space.name };
}

async function python(code: string, { client, space }: Awaited<ReturnType<typeof serve>>) {
  const args = ["-c", `import sys, dialout\n${code}`, client.url, space];
  return (await run(PYTHON, args, { env: { ...process.env, ...PYTHON_ENV } })).stdout.trim();
}

it("a Python function's parameters are the space's schema, and submits are checked by it (W35, H27)", async () => {
  const { client, space } = await serve("repeat");
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
  expect(await python(code, { client, space })).toBe("abab ababab\ninvalid_input /input/times");
});

it("files of 12 MB go to a Python function and come back as they were (W36, H28)", async () => {
  const at = await serve("reverse");
  const code = `import os
data = os.urandom(12_000_000)
space = dialout.Client(sys.argv[1]).space(sys.argv[2])
job = space.submit(file=dialout.NamedBytes("grün.bin", data), copies=2)
print(job.result(), [file.name for file in job.outputs])
print(all(file.read() == data[::-1] for file in job.outputs))`;
  const names = "['reversed.bin', 'reversed-2.bin']";
  expect(await python(code, at)).toBe(`${names} ${names}\nTrue`);
});
