import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { JsonObject } from "../../src/protocol/codec.ts";
import { parseExact } from "../../src/protocol/exact-json.ts";
import { execAdapter, safeFileName } from "../../worker-client/adapters/exec.ts";
import { LineSplitter, MAX_LINE_CHARS } from "../../worker-client/adapters/lines.ts";
import { type EdgeConnection, type FakeEdge, JOB_ID } from "../support/fake-edge.ts";
import { startEdge, startWorker } from "./start.ts";

const REF = { job_id: JOB_ID, attempt: 1 };
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

interface Served {
  edge: FakeEdge;
  connection: EdgeConnection;
}

/** A registered worker whose program is this piece of JavaScript. */
async function serveScript(script: string, options = {}): Promise<Served> {
  return serveProgram(process.execPath, ["-e", script], options);
}

async function serveProgram(program: string, args: string[], options = {}): Promise<Served> {
  const edge = await startEdge();
  const adapter = execAdapter({ program, args, log: SILENT, ...options });
  startWorker(edge, { handler: adapter.handle });
  onTestFinished(() => adapter.close());
  const connection = await edge.connection();
  await connection.welcome();
  return { edge, connection };
}

const READ_TASK = `const task = JSON.parse(require("fs").readFileSync(0, "utf8"));`;

describe("what a program writes", () => {
  test("a program reads its job as JSON; its lines are streamed and become the result", async () => {
    const { connection } = await serveScript(
      `${READ_TASK} console.log(task.input.prompt); console.log(task.job_id, task.attempt);`,
    );
    await connection.dispatch({ input: { prompt: "größer" } });
    expect(await connection.next("output")).toMatchObject({ delta: "größer\n" });
    expect(await connection.next("output")).toMatchObject({ delta: `${JOB_ID} 1\n` });
    expect(await connection.next("result")).toMatchObject({ output: `größer\n${JOB_ID} 1\n` });
  });

  test("UTF-16 fails the job with a message that says what to do; a NUL in a text does not", async () => {
    for (const [encoding, order] of [
      ["utf16le", "Buffer.from(text, 'utf16le')"],
      ["utf16be", "Buffer.from(text, 'utf16le').swap16()"],
    ]) {
      const { connection } = await serveScript(
        `const text = "\\ufeffhello " + "${encoding}" + "\\n"; process.stdout.write(${order});`,
      );
      await connection.dispatch({});
      const fail = await connection.next("fail");
      expect(fail).toMatchObject({ code: "worker_error" });
      expect(fail.message).toContain("UTF-16, not UTF-8");
    }
    const { connection } = await serveScript(`process.stdout.write("a few\\0 words\\n")`);
    await connection.dispatch({});
    expect(await connection.next("output")).toMatchObject({ delta: "a few\0 words\n" });
  });

  test("numbers that JavaScript can't keep reach the program and the edge as they were written (H18)", async () => {
    const exact = '{"seed":18446744073709551615,"big":1e400,"float":1.0,"__proto__":{"a":1}}';
    const { connection } = await serveScript(`
      const line = require("fs").readFileSync(0, "utf8");
      const input = line.slice(line.indexOf('"input":') + 8, line.lastIndexOf("}"));
      console.log('{"type":"output","delta":' + input + '}');
      console.log('{"type":"result","output":[' + input + '],"metrics":' + input + '}');
    `);
    await connection.dispatch({ input: parseExact(exact) as JsonObject });
    expect(JSON.stringify((await connection.next("output")).delta)).toBe(exact);
    const { output, metrics } = await connection.next("result");
    expect(JSON.stringify([output, metrics])).toBe(`[[${exact}],${exact}]`);
  });

  test("a field that stands twice next to such a number counts once, the last time (H18a)", async () => {
    const { connection } = await serveScript(
      `console.log('{"type":"result", "output": {"n": 1.0, "n": {"a": -0}} }');`,
    );
    await connection.dispatch();
    expect(JSON.stringify((await connection.next("result")).output)).toBe('{"n":{"a":-0}}');
  });

  test("a line of JSON may be progress, output or the result; any other line is text", async () => {
    const { connection } = await serveScript(`
      console.log('{"type":"progress","progress":40,"message":"half way"}');
      console.log('{"type":"output","delta":{"n":1}}');
      console.log('{"type":"weather"}');
      console.log("{not json");
      console.log('{"type":"result","output":[1,2],"metrics":{"tokens":2}}');
      process.stdout.write("no line break");
    `);
    await connection.dispatch();
    expect(await connection.next("progress")).toMatchObject({ progress: 40, message: "half way" });
    expect(await connection.next("output")).toMatchObject({ delta: { n: 1 } });
    expect(await connection.next("output")).toMatchObject({ delta: '{"type":"weather"}\n' });
    expect(await connection.next("output")).toMatchObject({ delta: "{not json\n" });
    expect(await connection.next("output")).toMatchObject({ delta: "no line break" });
    expect(await connection.next("result")).toMatchObject({
      output: [1, 2],
      metrics: { tokens: 2 },
    });
  });

  test("a line that tells of a file that is not there fails the job", async () => {
    const { connection } = await serveScript(
      `console.log('{"type":"output","file":"none.png"}'); setTimeout(() => {}, 60_000);`,
    );
    await connection.dispatch();
    expect(await connection.next("fail")).toMatchObject({
      message: expect.stringContaining('told of the file "none.png"'),
    });
  });

  test("files in its directory need an edge that takes them", async () => {
    const { connection } = await serveScript(
      `require("node:fs").writeFileSync(process.env.DIALOUT_OUTPUT_DIR + "/a.txt", "a");`,
    );
    await connection.dispatch();
    expect(await connection.next("fail")).toMatchObject({
      message: "This edge takes no output files: it is too old.",
    });
  });

  test("lines are streamed while the program runs", async () => {
    const { connection } = await serveScript(`console.log("first"); setInterval(() => {}, 1000);`);
    await connection.dispatch();
    expect(await connection.next("output")).toMatchObject({ delta: "first\n" });
    connection.send({ type: "cancel", ...REF, reason: "seen enough" });
    expect(await connection.next("fail")).toMatchObject({ code: "canceled" });
  });

  test("a line with the type of a frame but wrong fields fails the job", async () => {
    const { connection } = await serveScript(
      `console.log('{"type":"result"}'); setInterval(() => {}, 1000);`,
    );
    await connection.dispatch();
    const fail = await connection.next("fail");
    expect(fail.message).toContain("malformed result (output: is missing)");
  });

  test.each([
    ['{"type":"result","output":NaN}', "NaN"],
    ['\ufeff{"type":"result","output":1}', "byte order mark"],
    ["{'type': 'result', 'output': 1}", "single quotes"],
    ['{"type":"progress","progress":"50"}', "progress: must be a number"],
    ['{"type":"progress","progress":null}', "progress: must be a number"],
  ])("a wrong frame fails the job, even if the program exits with 0: %s", async (line, words) => {
    const { connection } = await serveScript(`console.log(${JSON.stringify(line)})`);
    await connection.dispatch();
    const fail = await connection.next("fail");
    expect(fail).toMatchObject({ code: "worker_error", retryable: false });
    expect(fail.message).toContain(words);
    expect(fail.message).toContain(line.slice(0, 200));
  });

  test.each([
    [100.5, 100],
    [-1, 0],
    [99.9, 99.9],
  ])("a progress of %d is sent as %d (W16a)", async (given, sent) => {
    const { connection } = await serveScript(
      `console.log('{"type":"progress","progress":${given}}')`,
    );
    await connection.dispatch();
    expect(await connection.next("progress")).toMatchObject({ progress: sent });
    await connection.next("result");
  });

  test("a program that doesn't read its input can still complete the job", async () => {
    const { connection } = await serveScript(
      `process.stdin.destroy(); console.log("unread"); process.exit(0);`,
    );
    await connection.dispatch({ input: { prompt: "x".repeat(400_000) } });
    expect(await connection.next("output")).toMatchObject({ delta: "unread\n" });
    await connection.next("result");
  });

  test("a line without a line break is limited in length", () => {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    splitter.push("a\nb");
    splitter.push("c\n\nd");
    expect(lines).toEqual(["a\n", "bc\n", "\n"]);
    splitter.end();
    expect(lines.at(-1)).toBe("d");
    expect(() => splitter.push("x".repeat(MAX_LINE_CHARS + 1))).toThrow(RangeError);
  });
});

describe("how a program ends", () => {
  const FAILING = `console.error("x".repeat(9000)); console.error("KEY=1 /home/me"); process.exit(3);`;

  test("an exit code other than 0 fails the job; what was written to stderr is for the log", async () => {
    const logged: string[] = [];
    const log = { ...SILENT, error: (line: string) => void logged.push(line) };
    const { connection } = await serveScript(FAILING, { log });
    await connection.dispatch();
    const fail = await connection.next("fail");
    expect(fail).toMatchObject({ code: "worker_error", retryable: false });
    expect(fail.message).toBe("The program exited with code 3.");
    expect(logged.join()).toMatch(
      /exited with code 3; its standard error ends:\nx+\nKEY=1 \/home\/me$/,
    );
  });

  test("the end of stderr is sent to the submitter if the operator wants it", async () => {
    const { connection } = await serveScript(FAILING, { showStderr: true });
    await connection.dispatch();
    const fail = await connection.next("fail");
    expect(fail.message).toMatch(/^The program exited with code 3: x+\nKEY=1 \/home\/me$/);
    expect(fail.message.length).toBeLessThan(2_100);
  });

  test("a job is tried again after an exit code that is listed as retryable", async () => {
    const { connection } = await serveScript("process.exit(75)", { retryableExitCodes: [75] });
    await connection.dispatch();
    expect(await connection.next("fail")).toMatchObject({ retryable: true });
  });

  test("a signal fails the job", async () => {
    const { connection } = await serveScript(`process.kill(process.pid, "SIGKILL")`);
    await connection.dispatch();
    expect((await connection.next("fail")).message).toContain("ended by SIGKILL");
  });

  test("a program that doesn't exist is named in the log, and not to the submitter", async () => {
    const logged: string[] = [];
    const log = { ...SILENT, error: (line: string) => void logged.push(line) };
    const { connection } = await serveProgram("no-such-program-anywhere", [], { log });
    await connection.dispatch();
    expect((await connection.next("fail")).message).toBe(
      "The worker's program could not be started.",
    );
    expect(logged.join()).toContain('the program "no-such-program-anywhere" was not found');
  });

  test("cancel ends the program and what it started, even if it ignores SIGTERM", async () => {
    const { connection } = await serveScript(
      `process.on("SIGTERM", () => console.error("not now"));
       const child = require("child_process").spawn("sleep", ["600"]);
       console.log(process.pid, child.pid);
       setInterval(() => {}, 1000);`,
      { killAfterMs: 50 },
    );
    await connection.dispatch();
    const { delta } = await connection.next("output");
    connection.send({ type: "cancel", ...REF, reason: "asked" });
    expect(await connection.next("fail")).toMatchObject({ code: "canceled" });
    for (const pid of String(delta).trim().split(" ").map(Number)) {
      await expect.poll(() => isRunning(pid)).toBe(false);
    }
  });

  test("the program doesn't get the worker's token, in whichever variable it is", async () => {
    const variables = {
      DIALOUT_TOKEN: "secret-1",
      npm_script: "worker --token secret-2",
      KEPT: "yes",
    };
    Object.assign(process.env, variables);
    onTestFinished(() => {
      for (const name of Object.keys(variables)) delete process.env[name];
    });
    const script = "const { env } = process; console.log(env.KEPT, JSON.stringify(env))";
    const { connection } = await serveScript(script, { secret: "secret-2" });
    await connection.dispatch();
    const { delta } = await connection.next("output");
    expect(delta).toMatch(/^yes /);
    expect(delta).not.toContain("secret-");
  });
});

/** A process that has ended but wasn't waited for yet counts as ended. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

describe("files", () => {
  test("exist while the program runs, under names without a path, and are removed afterwards (W13)", async () => {
    const script = `${READ_TASK}
      const fs = require("fs");
      for (const f of task.files) f.content = fs.readFileSync(f.path, "utf8");
      console.log(JSON.stringify({ type: "result", output: task.files }));`;
    const { edge, connection } = await serveScript(script);
    const names = [
      "../../etc/passwd",
      "..\\..\\boot.ini",
      "",
      ".bashrc",
      "a\u0000b/\n.txt",
      "a.txt",
    ];
    const files = names.map((name, index) => edge.serve(name, Buffer.from(`content ${index}`)));
    await connection.dispatch({ files });
    const { output } = await connection.next("result");
    const saved = output as { name: string; path: string; content: string; size: number }[];
    expect(saved.map(({ name }) => name)).toEqual(names);
    expect(saved.map(({ path }) => basename(path))).toEqual([
      "0-passwd",
      "1-boot.ini",
      "2-file",
      "3-bashrc",
      "4-_.txt",
      "5-a.txt",
    ]);
    const directory = dirname(saved[0]?.path ?? "");
    for (const [index, file] of saved.entries()) {
      expect(dirname(file.path)).toBe(directory);
      expect(file.content).toBe(`content ${index}`);
    }
    expect(dirname(directory)).toBe(tmpdir());
    await expect.poll(() => existsSync(directory)).toBe(false);
  });

  test("that can't be fetched fail the job before the program starts", async () => {
    const directory = await mkdtemp(join(tmpdir(), "exec-test-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const trace = join(directory, "started");
    const { edge, connection } = await serveScript(
      `require("fs").writeFileSync(${JSON.stringify(trace)}, "")`,
    );
    const file = edge.serve("a.txt", Buffer.from("a"), { url: "/files/nowhere" });
    await connection.dispatch({ files: [file] });
    expect((await connection.next("fail")).message).toContain("status 404");
    expect(existsSync(trace)).toBe(false);
  });

  test.each(["..", ".", "/", "", "💥", "a".repeat(500), "con/../x"])(
    "the name %j becomes a plain file name",
    (name) => {
      const safe = safeFileName(name);
      expect(safe).toMatch(/^[^./\\][^/\\]*$/);
      expect(safe.length).toBeLessThanOrEqual(60);
    },
  );

  test.each([
    ["C:\\Users\\me\\a.txt", "a.txt"],
    [`${"x".repeat(200)}.tar.gz`, `${"x".repeat(53)}.tar.gz`],
    [`${"𠮷".repeat(100)}.png`, `${"𠮷".repeat(28)}.png`],
    ["a\ud842.txt", "a_.txt"],
    ["हिन्दी.txt", "हिन्दी.txt"],
    ["می‌خواهم.txt", "می‌خواهم.txt"],
    ["photo\u202egnp.exe", "photo_gnp.exe"],
    ["a b; rm -rf.sh", "a_b__rm_-rf.sh"],
  ])("the name %j is stored as %j", (name, stored) => {
    expect(safeFileName(name)).toBe(stored);
  });

  test("with half a surrogate pair in its name reaches the program with a name it can print", async () => {
    const { edge, connection } = await serveScript(
      `let t = ""; process.stdin.on("data", (p) => { t += p; }).on("end", () => {
        process.stdout.write(JSON.stringify({ type: "result", output: JSON.parse(t).files[0].name }) + "\\n");
      });`,
    );
    const file = edge.serve("a.txt", Buffer.from("a"), { name: "a\ud83d.txt" });
    await connection.dispatch({ files: [file] });
    expect(await connection.next("result")).toMatchObject({ output: "a\ufffd.txt" });
  });
});
