import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import about from "../../package.json" with { type: "json" };
import { type EdgeConnection, type FakeEdge, JOB_ID, SPACE, TOKEN } from "../support/fake-edge.ts";
import { startEdge } from "./start.ts";

const CLI = join(import.meta.dirname, "../../worker-client/cli.ts");
const REF = { job_id: JOB_ID, attempt: 1 };
const ECHO = ["--", process.execPath, "-e", "process.stdin.pipe(process.stdout)"];
const SLEEP_SCRIPT = `
  const task = JSON.parse(require("fs").readFileSync(0, "utf8"));
  console.log(JSON.stringify({ type: "output", delta: [process.pid, task.files[0].path] }));
  setInterval(() => {}, 1000);`;
const SLEEP = ["--", process.execPath, "-e", SLEEP_SCRIPT];

interface Run {
  child: ChildProcessWithoutNullStreams;
  exited: Promise<number | null>;
  stderr: () => string;
}

function runCli(args: string[], env: Record<string, string> = {}): Run {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith("DIALOUT_"));
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...Object.fromEntries(clean), ...env },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (piece: string) => {
    stderr += piece;
  });
  const exited = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { child, exited, stderr: () => stderr };
}

async function connectCli(
  program: string[],
): Promise<Run & { edge: FakeEdge; connection: EdgeConnection }> {
  const edge = await startEdge();
  const env = { DIALOUT_URL: edge.url, DIALOUT_SPACE: SPACE, DIALOUT_TOKEN: TOKEN };
  const run = runCli(["exec", "--name", "box", ...program], env);
  const connection = await edge.connection();
  expect((await connection.welcome()).name).toBe("box");
  return { ...run, edge, connection };
}

describe("options", () => {
  test.each([
    [["exec", "--nonsense", ...ECHO], "unknown option '--nonsense'"],
    [["exec", "--space", "a", ...ECHO], "a token is missing"],
    [["exec", "--token", TOKEN, ...ECHO], "name the space"],
    [["exec", "--space", "a", "--token", TOKEN], "missing required argument 'program'"],
    [["exec", "--space", "A!", "--token", TOKEN, ...ECHO], "must be 1 to 63"],
    [["demo", "--space", "a", "--token", TOKEN, "--url", "edge"], "http: or https: URL"],
    [["demo", "--space", "a", "--token", TOKEN, "--concurrency", "two"], "not a whole number"],
    [["exec", "--space", "a", "--token", TOKEN, "--schema", "/no", ...ECHO], "file can't be read"],
    [["demo", "--space", "a", "--token-file", "/nowhere"], "the token file can't be read"],
    [["fly"], "unknown command 'fly'"],
    [
      ["demo", "--space", "a", "--token", TOKEN, "--url", "localhost:8787"],
      "http://localhost:8787",
    ],
    [["demo", "--space", "a", "--token", TOKEN, "--url", "wss://e/x"], "write https://e/x"],
    [["demo", "--space", "a", "--token", TOKEN, "--url", "http://e/spaces/b"], "of the space b"],
    [["exec", "--retryable-exit-codes", "75,300", ...ECHO], "from 1 to 255"],
    [["exec", "--keep", "--ready-timeout", "0", ...ECHO], "from 1 to 86400"],
    [["openai"], "missing required argument 'address'"],
    [["openai", "localhost:11434/v1"], "write http://localhost:11434/v1"],
    [["http", "http://me:secret@localhost:1/"], "no user name and no password"],
    [["comfyui", "http://localhost:8188"], "--workflow <path>' not specified"],
    [["comfyui", "http://localhost:8188", "--workflow", "/nowhere.json"], "no such file"],
    [["comfyui", "http://localhost:8188", "--workflow", CLI], "is not valid JSON"],
    [["exec", "--", "no-such-program-anywhere"], "in no folder of PATH"],
    [["exec", "--", "no-such-program-anywhere --fast"], "each argument separately"],
    [["exec", "--", "./no-such-program"], "there is no file ./no-such-program"],
    [["exec", "--", "/"], "/ is a directory"],
    [["exec", "--", join(import.meta.dirname, "cli.test.ts")], "is not executable"],
  ])("%j exits with 2 and says what is wrong", async (args, words) => {
    const run = runCli(args);
    expect(await run.exited).toBe(2);
    expect(run.stderr()).toContain(words);
    expect(run.stderr()).not.toContain(TOKEN);
  });

  test("--version prints the version of the package", async () => {
    const run = runCli(["--version"]);
    let printed = "";
    run.child.stdout.setEncoding("utf8").on("data", (piece: string) => {
      printed += piece;
    });
    expect(await run.exited).toBe(0);
    expect(printed).toBe(`${about.version}\n`);
    expect(run.stderr()).toBe("");
  });

  test.each(["/spaces/echo", "/spaces/echo/", "/api/spaces/echo/jobs"])(
    "the address may be that of the space: %s",
    async (path) => {
      const edge = await startEdge();
      runCli(["exec", "--url", edge.url + path, "--token", TOKEN, ...ECHO]);
      const connection = await edge.connection();
      expect(connection.path).toBe(`/api/spaces/${SPACE}/connect?batch=1`);
    },
  );

  test("the token may come from a file", async () => {
    const directory = await mkdtemp(join(tmpdir(), "cli-test-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const path = join(directory, "token");
    await writeFile(path, `${TOKEN}\n`);
    const edge = await startEdge();
    runCli(["exec", "--url", edge.url, "--space", SPACE, "--token-file", path, ...ECHO]);
    const connection = await edge.connection();
    expect(connection.headers.authorization).toBe(`Bearer ${TOKEN}`);
  });
});

describe("a running worker", () => {
  test("drains on SIGTERM: finishes its job, prints its statistics and exits with 0 (W28)", async () => {
    const { child, connection, exited, stderr } = await connectCli(ECHO);
    await connection.dispatch();
    await connection.until("result");
    child.kill("SIGTERM");
    expect(await connection.next("drain")).toMatchObject({ reason: "SIGTERM" });
    connection.ack(REF, "result");
    expect(await connection.closed).toBe(1000);
    expect(await exited).toBe(0);
    expect(stderr()).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO {2}connected: serving/m);
    expect(stderr()).toContain("jobs: 1 received, 1 completed, 0 failed");
    expect(stderr()).toMatch(/up \d+\.\d s, busy \d+\.\d s, reconnects 0, [\d,]+ bytes in/);
    expect(stderr()).not.toContain(TOKEN);
    expect(stderr()).not.toContain("\u001b");
  });

  test("drains when the npx that runs it is killed, which passes no signal on (W28)", async () => {
    const edge = await startEdge();
    // As npx does: a program that starts a shell, which starts the worker.
    const worker = `"${process.execPath}" "${CLI}" exec --url ${edge.url} --space ${SPACE} -- cat; true`;
    const npx = spawn("sh", ["-c", `sh -c '${worker}'; true`], {
      env: { ...process.env, DIALOUT_TOKEN: TOKEN, npm_lifecycle_event: "npx" },
    });
    const connection = await edge.connection();
    await connection.welcome();
    npx.kill("SIGKILL");
    expect(await connection.next("drain")).toMatchObject({ reason: "SIGTERM" });
    expect(await connection.closed).toBe(1000);
  });

  test("ends at once on the second signal, and leaves neither program nor files behind (W28a)", async () => {
    const { child, edge, connection, exited, stderr } = await connectCli(SLEEP);
    await connection.dispatch({ files: [edge.serve("a.txt", Buffer.from("a"))] });
    const [pid, path] = (await connection.next("output")).delta as [number, string];
    expect(existsSync(path)).toBe(true);
    child.kill("SIGINT");
    await connection.next("drain");
    child.kill("SIGINT");
    expect(await connection.closed).toBe(1000);
    expect(await exited).toBe(1);
    expect(stderr()).toContain("SIGINT again: leaving at once");
    expect(stderr()).toContain("1 not acknowledged");
    expect(existsSync(path)).toBe(false);
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });

  test("that is refused exits with 1 and prints the reason in plain words (W30)", async () => {
    const { connection, exited, stderr } = await connectCli(ECHO);
    connection.close(4409);
    expect(await exited).toBe(1);
    expect(stderr()).toContain("ERROR stopping: another worker serves this space");
    expect(stderr()).toContain("jobs: 0 received");
  });

  test("that is refused prints the edge's message once (W30)", async () => {
    const { connection, exited, stderr } = await connectCli(ECHO);
    connection.error("space_occupied", "gpu-7 serves this space.");
    connection.close(4409, "gpu-7 serves this space.");
    expect(await exited).toBe(1);
    expect(stderr().split("gpu-7 serves this space.")).toHaveLength(2);
    expect(stderr()).toContain("ERROR stopping: gpu-7 serves this space.");
  });
});
