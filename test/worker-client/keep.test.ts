import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { JsonObject } from "../../src/protocol/codec.ts";
import type { DeclaredSchema } from "../../src/protocol/declared-schema.ts";
import { type KeepOptions, keepAdapter } from "../../worker-client/adapters/keep.ts";
import { type EdgeConnection, type FakeEdge, JOB_ID, OUTPUTS } from "../support/fake-edge.ts";
import { isRunning } from "../support/program.ts";
import { startEdge, startWorker } from "./start.ts";

const REF = { job_id: JOB_ID, attempt: 1 };
const OTHER = { job_id: JOB_ID.replace("ZZZZ", "AAAA"), attempt: 1 };

/** Reads lines, and has `say` for answers; `onLine` is what the script does with one. */
const PROGRAM = (onLine: string, before = "say({ type: 'ready' });") => `
  const say = (frame) => process.stdout.write(JSON.stringify(frame) + "\\n");
  let rest = "";
  process.stdin.setEncoding("utf8").on("data", (piece) => {
    const lines = (rest + piece).split("\\n");
    rest = lines.pop();
    for (const line of lines) onLine(JSON.parse(line));
  });
  const onLine = ({ type, id, ...job }) => { ${onLine} };
  ${before}`;

const ECHO = PROGRAM(
  `if (type === "job") say({ type: "result", id, output: [process.pid, job.input] });`,
);

interface Kept {
  edge: FakeEdge;
  connection: EdgeConnection;
  logged: string[];
  schema: DeclaredSchema | undefined;
  adapter: ReturnType<typeof keepAdapter>;
}

function keep(script: string, options: Partial<KeepOptions> = {}) {
  const logged: string[] = [];
  const note = (message: string) => void logged.push(message);
  const adapter = keepAdapter({
    program: process.execPath,
    args: ["-e", script],
    log: { debug: note, info: note, warn: note, error: note },
    readyTimeoutMs: 10_000,
    cancelGraceMs: 5_000,
    ...options,
  });
  onTestFinished(() => adapter.close());
  return { adapter, logged };
}

/** A registered worker whose program is this piece of JavaScript, once it is ready. */
async function serve(
  script: string,
  options: Partial<KeepOptions> = {},
  concurrency = 1,
): Promise<Kept> {
  const edge = await startEdge();
  const { adapter, logged } = keep(script, options);
  const schema = await adapter.model.untilReady(new AbortController().signal);
  startWorker(edge, { handler: adapter.handle, concurrency });
  const connection = await edge.connection();
  await connection.welcome();
  return { edge, connection, logged, schema, adapter };
}

async function resultOf(connection: EdgeConnection, input: JsonObject = {}): Promise<unknown> {
  await connection.dispatch({ input });
  const { output, job_id, attempt } = await connection.next("result");
  connection.ack({ job_id, attempt }, "result");
  return output;
}

describe("a kept program", () => {
  test("runs one job after the other in the same process", async () => {
    const { connection } = await serve(ECHO);
    const [first] = (await resultOf(connection, { n: 1 })) as [number, unknown];
    expect(await resultOf(connection, { n: 2 })).toEqual([first, { n: 2 }]);
  });

  test("is ready when it says so, and may say what its jobs take and give", async () => {
    const schema = { input: { type: "object", properties: { n: { type: "integer" } } } };
    const ready = `setTimeout(() => say({ type: "ready", schema: ${JSON.stringify(schema)} }), 50);`;
    expect((await serve(PROGRAM("", ready))).schema).toEqual(schema);
  });

  test("gets several jobs at once, and ends them in any order", async () => {
    const { connection } = await serve(
      PROGRAM(`(globalThis.held ??= []).push(id);
        if (held.length === 2) for (const each of held.reverse()) {
          say({ type: "output", id: each, delta: each });
          say({ type: "result", id: each });
        }`),
      {},
      2,
    );
    await connection.dispatch();
    await connection.dispatch(OTHER);
    const frames = [await connection.any(), await connection.any(), await connection.any()];
    frames.push(await connection.any());
    // Without an output, what was streamed is the result.
    for (const ref of [OTHER, REF]) {
      expect(frames).toContainEqual({ type: "output", ...ref, delta: `${ref.job_id}.1` });
      expect(frames).toContainEqual({ type: "result", ...ref, output: `${ref.job_id}.1` });
    }
  });

  test("may leave out the id while it has one job", async () => {
    const { connection } = await serve(
      PROGRAM(`say({ type: "progress", progress: 50 }); say({ type: "result", output: 1 });`),
    );
    await connection.dispatch();
    expect(await connection.next("progress")).toMatchObject({ ...REF, progress: 50 });
    expect(await connection.next("result")).toMatchObject({ ...REF, output: 1 });
  });

  test("fails a job in its own words, and goes on", async () => {
    const { connection } = await serve(
      PROGRAM(
        `say({ type: "fail", id, message: "No " + job.input.n, retryable: job.input.n === 2 });`,
      ),
    );
    for (const n of [1, 2]) {
      await connection.dispatch({ input: { n }, attempt: n });
      const fail = await connection.next("fail");
      expect(fail).toMatchObject({ code: "worker_error", message: `No ${n}`, retryable: n === 2 });
      connection.ack(fail, "fail");
    }
  });

  test("numbers keep every digit in both directions (H18)", async () => {
    const exact = '{"seed":18446744073709551615,"float":1.0}';
    const { connection } = await serve(
      `process.stdout.write('{"type":"ready"}\\n');
       process.stdin.setEncoding("utf8").on("data", (line) => {
         const input = line.slice(line.indexOf('"input":') + 8, line.lastIndexOf("}"));
         process.stdout.write('{"type":"result","output":' + input + '}\\n');
       });`,
    );
    connection.sendText(
      JSON.stringify({
        type: "job",
        ...REF,
        input: "INPUT",
        files: [],
        priority: 0,
        deadline: new Date(Date.now() + 60_000),
        created_at: new Date(),
        user: null,
      }).replace('"INPUT"', exact),
    );
    await connection.next("accept");
    expect(JSON.stringify((await connection.next("result")).output)).toBe(exact);
  });
});

describe("files", () => {
  test("come as paths; what is in the output directory at the end is sent, and previews before", async () => {
    const { edge, connection } = await serve(
      PROGRAM(`
        const fs = require("fs");
        const text = fs.readFileSync(job.files[0].path, "utf8");
        fs.writeFileSync(job.output_dir + "/step.jpg", "half");
        say({ type: "output", id, file: "step.jpg", preview: true });
        fs.writeFileSync(job.output_dir + "/out.png", text.toUpperCase());
        say({ type: "result", id, output: { image: "out.png" } });`),
    );
    const file = edge.serve("in.txt", Buffer.from("picture"));
    await connection.dispatch({ files: [file], outputs: OUTPUTS });
    const frames = await connection.until("result");
    expect(frames).toMatchObject([
      { type: "output", file: "step-1.jpg", preview: true },
      { type: "output", file: "out.png" },
      { type: "result", output: { image: "out.png" } },
    ]);
    expect(edge.outputs.get("out.png")?.bytes.toString()).toBe("PICTURE");
  });

  test("that are not in the output directory fail the job, and the program goes on", async () => {
    const { connection } = await serve(
      PROGRAM(`
        if (type === "cancel") return say({ type: "fail", id, message: "stopped" });
        if (job.input.name) say({ type: "output", id, file: job.input.name });
        else say({ type: "result", id, output: "alive" });`),
    );
    await connection.dispatch({ input: { name: "nothing.png" }, outputs: OUTPUTS });
    const fail = await connection.next("fail");
    expect(fail.message).toContain('told of the file "nothing.png"');
    connection.ack(fail, "fail");
    await connection.dispatch({ attempt: 2 });
    expect((await connection.next("result")).output).toBe("alive");
  });
});

describe("what a program does wrong", () => {
  test("a malformed line fails its job only, and the program goes on", async () => {
    const { connection } = await serve(
      PROGRAM(`if (type === "job" && job.input.bad) {
          process.stdout.write('{"type":"result","id":"' + id + '","output":NaN}\\n');
        } else if (type === "job") say({ type: "result", id, output: process.pid });`),
    );
    const pid = await resultOf(connection);
    await connection.dispatch({ input: { bad: true }, attempt: 2 });
    const fail = await connection.next("fail");
    expect(fail.message).toContain("malformed result (it has NaN");
    connection.ack(fail, "fail");
    await connection.dispatch({ attempt: 3 });
    expect((await connection.next("result")).output).toBe(pid);
  });

  test("a line that is no frame is explained in the log, and changes nothing", async () => {
    const { connection, logged } = await serve(
      PROGRAM(
        `console.log("thinking"); console.log("more"); say({ type: "result", id, output: 1 });`,
        `console.log("loading"); say({ type: "ready" });`,
      ),
    );
    expect(await resultOf(connection)).toBe(1);
    expect(logged.filter((line) => line.includes("is no frame"))).toHaveLength(1);
    expect(logged.join()).toContain("standard error");
    expect(logged).toContain("stdout: thinking");
  });

  test("a line that is too long fails its job, and the next one is read", async () => {
    const { connection } = await serve(
      PROGRAM(`if (type === "job" && job.input.long) {
          say({ type: "result", id, output: "x".repeat(5_000_000) });
        } else if (type === "job") say({ type: "result", id, output: "short" });`),
    );
    await connection.dispatch({ input: { long: true } });
    const fail = await connection.next("fail");
    expect(fail.message).toContain("malformed result (a line of more than 4194304 characters)");
    connection.ack(fail, "fail");
    await connection.dispatch({ attempt: 2 });
    expect((await connection.next("result")).output).toBe("short");
  });

  test("a line about no job is ignored", async () => {
    const { connection, logged } = await serve(
      PROGRAM(
        `say({ type: "output", id: "nobody", delta: "x" }); say({ type: "result", id, output: 1 });`,
      ),
    );
    expect(await resultOf(connection)).toBe(1);
    expect(logged.join()).toContain('it is about no job that runs, "nobody"');
  });
});

describe("cancel", () => {
  test("is a line; the program ends the job, and keeps its model", async () => {
    const { connection } = await serve(
      PROGRAM(`
        if (type === "cancel") say({ type: "fail", id, message: "stopped" });
        else if (job.input.wait) say({ type: "output", id, delta: "waiting" });
        else say({ type: "result", id, output: process.pid });`),
    );
    const pid = await resultOf(connection);
    await connection.dispatch({ input: { wait: true }, attempt: 2 });
    await connection.next("output");
    connection.send({ type: "cancel", job_id: JOB_ID, attempt: 2, reason: "asked" });
    expect(await connection.next("fail")).toMatchObject({ code: "canceled" });
    connection.ack({ job_id: JOB_ID, attempt: 2 }, "fail");
    await connection.dispatch({ attempt: 3 });
    expect((await connection.next("result")).output).toBe(pid);
  });

  test("kills a program that ignores it; its other jobs are tried again, and it starts anew", async () => {
    const { connection, adapter } = await serve(
      PROGRAM(`if (type === "job") say({ type: "output", id, delta: process.pid });`),
      { cancelGraceMs: 50 },
      2,
    );
    await connection.dispatch();
    const pid = Number((await connection.next("output")).delta);
    await connection.dispatch(OTHER);
    await connection.next("output");
    const lost = adapter.model.untilLost();
    connection.send({ type: "cancel", ...REF, reason: "asked" });
    const ends = [await connection.next("fail"), await connection.next("fail")];
    expect(ends.find(({ job_id }) => job_id === JOB_ID)).toMatchObject({ code: "canceled" });
    expect(ends.find(({ job_id }) => job_id === OTHER.job_id)).toMatchObject({ retryable: true });
    expect(isRunning(pid)).toBe(false);
    expect(await lost).toContain("was ended by SIGKILL, and is started again");
    await adapter.model.untilReady(new AbortController().signal);
  });
});

describe("a program that dies", () => {
  test("fails its jobs with how it ended, not with what it wrote to stderr, and starts again at once", async () => {
    const { connection, logged, adapter } = await serve(
      PROGRAM(`console.error("KEY=1 /home/me"); process.exit(3);`),
    );
    await connection.dispatch();
    const fail = await connection.next("fail");
    expect(fail).toMatchObject({ message: "The program exited with code 3.", retryable: false });
    await adapter.model.untilReady(new AbortController().signal);
    expect(logged.join("\n")).toMatch(
      /its standard error ends:\nKEY=1 \/home\/me\nStarting it again now/,
    );
  });

  test("lets its jobs be tried again after an exit code that is listed; shows stderr if asked", async () => {
    const options = { retryableExitCodes: [75], showStderr: true };
    const { connection } = await serve(
      PROGRAM(`console.error("busy"); process.exit(75);`),
      options,
    );
    await connection.dispatch();
    const message = "The program exited with code 75: busy";
    expect(await connection.next("fail")).toMatchObject({ message, retryable: true });
  });

  test("is given up if it never was ready", async () => {
    const { adapter, logged } = keep(`console.error("no module"); process.exit(1)`);
    await expect(adapter.model.untilReady(new AbortController().signal)).rejects.toThrow(
      /exited with code 1; its standard error ends:\nno module\nIt was started 5 times, and never wrote/,
    );
    expect(logged.join()).toContain("Starting it again in 4 s");
  }, 20_000);

  test("is killed and started again if it is not ready in time", async () => {
    const folder = await mkdtemp(join(tmpdir(), "keep-test-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const marker = JSON.stringify(join(folder, "started"));
    const { adapter, logged } = keep(
      `const fs = require("fs");
       if (fs.existsSync(${marker})) process.stdout.write('{"type":"ready"}\\n');
       fs.writeFileSync(${marker}, String(process.pid));
       process.stdin.resume();`,
      { readyTimeoutMs: 300 },
    );
    await adapter.model.untilReady(new AbortController().signal);
    expect(logged.join()).toContain('has not written {"type":"ready"}');
    const pid = Number(await readFile(join(folder, "started"), "utf8"));
    await adapter.close();
    expect(isRunning(pid)).toBe(false);
  });
});
