import { env, exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { call, connectWorker, makeSpace, OPERATOR, problemOf, TestSocket } from "./support.ts";

const SCHEMA = {
  input: {
    type: "object",
    properties: {
      width: { type: "integer", minimum: 64 },
      weights: { type: "array", items: { type: "number" } },
      photo: { type: "string", format: "image" },
    },
    required: ["width"],
    additionalProperties: false,
  },
};

async function makeServed() {
  const space = await makeSpace({ offline: "queue" });
  const { socket } = await connectWorker(space, { schema: SCHEMA });
  return { name: space.name, worker: socket };
}

function sendForm(path: string, fields: [string, string | File][], headers = {}) {
  const body = new FormData();
  for (const [name, value] of fields) body.append(name, value);
  return exports.default.fetch(`https://edge.test${path}`, { method: "POST", body, headers });
}

const PHOTO = new File(["pixels"], "cat.png", { type: "image/png" });
const WRONG = [{ path: "/input/width", message: "must be 64 or more" }];

describe("a submit to a space with a schema", () => {
  it("is checked at every door (H27, H27a, H27b)", async () => {
    const { name } = await makeServed();
    const jobs = `/api/spaces/${name}/jobs`;
    const problem = await problemOf(422, call("POST", jobs, { input: { width: 1 } }));
    expect(problem).toMatchObject({ code: "invalid_input", errors: WRONG });
    const batch = await call("POST", `${jobs}/batch`, {
      jobs: [{ input: { width: 1 } }, { input: { width: 64 } }],
    });
    const answers = await batch.json<{ jobs: { error?: unknown; job?: unknown }[] }>();
    expect(answers.jobs[0]?.error).toMatchObject({ code: "invalid_input", errors: WRONG });
    expect(answers.jobs[1]?.job).toMatchObject({ input: { width: 64 } });
    const form = await problemOf(422, sendForm(jobs, [["width", "1"]]));
    expect(form).toMatchObject({ code: "invalid_input", errors: WRONG });
    const socket = await TestSocket.open(`/api/spaces/${name}/ws`);
    socket.send({ type: "submit", ref: "r", input: { width: 1 } });
    expect(await socket.next("error")).toMatchObject({
      ref: "r",
      code: "invalid_input",
      errors: WRONG,
    });
    const headers = { ...OPERATOR, "content-type": "application/x-www-form-urlencoded" };
    const first = await call("POST", `/websockets/submit/${name}`, "width=1", headers);
    expect([first.status, await first.json()]).toEqual([
      400,
      { error: "/input/width: must be 64 or more", code: "invalid_input" },
    ]);
  });

  it("as a form of either kind has numbers that are numbers (H27c)", async () => {
    const { name, worker } = await makeServed();
    const response = await sendForm(`/api/spaces/${name}/jobs`, [
      ["width", "18446744073709551615"],
      ["weights", "1.0"],
      ["weights", ".5"],
    ]);
    expect(response.status).toBe(202);
    const input = async () => JSON.stringify((await worker.next("job")).input);
    expect(await input()).toBe('{"width":18446744073709551615,"weights":[1.0,0.5]}');
    worker.send({ type: "result", job_id: "x", attempt: 1, output: null });
    const headers = { ...OPERATOR, "content-type": "application/x-www-form-urlencoded" };
    const first = await call("POST", `/websockets/submit/${name}`, "width=640&weights=", headers);
    const { request_id } = await first.json<{ request_id: string }>();
    expect(await (await call("GET", `/api/jobs/${request_id}`)).json()).toMatchObject({
      input: { width: 640 },
    });
  });

  it("keeps the files of its fields, and none of a submit that is refused (H27d)", async () => {
    const { name, worker } = await makeServed();
    const jobs = `/api/spaces/${name}/jobs`;
    const kept = async () => (await env.FILES.list({ prefix: `spaces/${name}/` })).objects.length;
    await problemOf(422, sendForm(jobs, [["photo", PHOTO]]));
    const other = sendForm(jobs, [
      ["width", "64"],
      ["file", PHOTO],
    ]);
    expect(await problemOf(422, other)).toMatchObject({
      errors: [{ path: "/files/file", message: "is no field for files: leave it out" }],
    });
    expect(await kept()).toBe(0);
    const good = await sendForm(jobs, [
      ["width", "64"],
      ["photo", PHOTO],
    ]);
    expect(good.status).toBe(202);
    expect(await worker.next("job")).toMatchObject({
      input: { width: 64 },
      files: [{ field: "photo", name: "cat.png" }],
    });
    expect(await kept()).toBe(1);
  });

  it("finds the schema in the space, and not in the list of spaces (W35a)", async () => {
    const { name } = await makeServed();
    const space = await call("GET", `/api/spaces/${name}`);
    expect(await space.json()).toMatchObject({
      schema: { version: 1, ...SCHEMA, output: null },
      status: { schema_version: 1 },
    });
    const list = await call("GET", "/api/spaces?limit=100", undefined, OPERATOR);
    const { spaces } = await list.json<{ spaces: object[] }>();
    expect(spaces.some((entry) => "schema" in entry)).toBe(false);
  });
});
