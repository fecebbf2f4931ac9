import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { type JobHandler, RemoteWorker } from "../../worker-client/index.ts";
import { Network } from "../support/network.ts";
import { paste, sampleOf } from "./samples.ts";
import {
  CLI,
  edge,
  makeEchoSpace,
  outcomeOf,
  run,
  start,
  startWaitingJob,
  temporaryFolder,
} from "./terminal-program.ts";

const JOB_ID = /job (space-\S+)/;

let space: Awaited<ReturnType<typeof makeEchoSpace>>;

beforeAll(async () => {
  space = await makeEchoSpace();
  return space.stop;
});

describe("submit", () => {
  it("streams the output, and everything else goes to standard error", async () => {
    const { code, out, err } = await run(["submit", space.name, "a cat"]);
    expect(out).toBe("begin a cat\nend\n");
    expect(err).toMatch(/^job space-/);
    expect(err).toContain("50 %  half way");
    expect(code).toBe(0);
  });

  it("takes fields, the input and files, and the prompt from standard input", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "one.txt"), "1");
    await writeFile(join(folder, "input.json"), '{"seed": 18446744073709551615, "show": true}');
    const given = ["--field", "n:=7", "-f", "t=7", "--input", `@${join(folder, "input.json")}`];
    const file = ["--file", `file=${join(folder, "one.txt")}`];
    const { out, code } = await run(["submit", space.name, "-", ...given, ...file], {
      stdin: "from a pipe",
    });
    expect(out).toContain(
      '[{"seed":18446744073709551615,"show":true,"n":7,"t":"7","prompt":"from a pipe"},["one.txt"]]',
    );
    expect(code).toBe(0);
  });

  it("prints every event as JSON, or the result alone, or the id", async () => {
    const events = (await run(["submit", space.name, "a cat", "--json"])).out.trimEnd().split("\n");
    const types = events.map((line) => JSON.parse(line).type);
    expect(types[0]).toBe("accepted");
    expect(types).toContain("output");
    expect(JSON.parse(events.at(-1) ?? "")).toMatchObject({
      type: "progress",
      status: "completed",
    });
    expect((await run(["submit", space.name, "a cat", "--result", "--quiet"])).err).toBe("");
    const { out } = await run(["submit", space.name, "a cat", "--no-wait"]);
    expect((await edge.ended(out.trim())).status).toBe("completed");
  });

  it("ends with the code of how the job ended", async () => {
    const failed = await run(["submit", space.name, "x", "--field", "exit=3"]);
    expect(failed.code).toBe(1);
    expect(failed.err).toContain(
      "error: the job failed: The program exited with code 3. (worker_error)",
    );
    const { shown, prints, ended, goOn } = await startWaitingJob(space.name);
    await prints("begin");
    const id = JOB_ID.exec(shown.err)?.[1] ?? "";
    expect((await run(["cancel", id])).code).toBe(0);
    expect(await ended).toMatchObject({
      code: 3,
      err: expect.stringContaining("error: the job was canceled"),
    });
    await goOn();
  });

  it.each([
    [["submit", "no-such-space", "x"], 4, "dialout spaces"],
    [["submit"], 2, "missing required argument 'space'"],
    [["submit", "demo"], 2, "there is nothing to submit"],
    [["submit", "demo", "x", "--input", "{"], 2, "--input is not JSON"],
    [["submit", "demo", "x", "--input", "[1]"], 2, "must be a JSON object"],
    [["submit", "demo", "x", "--file", "a"], 2, "it names no file"],
    [["submit", "demo", "x", "--file", "a=/nowhere"], 2, "no such file"],
    [["submit", "demo", "x", "--key-file", "/nowhere"], 2, "the key file can't be read"],
    [["submit", "demo", "x", "--url", "http://127.0.0.1:1"], 5, "dialout doctor"],
    [["follow", "demo.01JZZZZZZZZZZZZZZZZZZZZZZZ"], 4, "check the id"],
    [["follow", "demo.x", "--since", "7"], 2, "is no position"],
    [["fly"], 2, "unknown command 'fly'"],
    [["jobs", "demo"], 4, "DIALOUT_KEY"],
  ])("%j ends with %i and says what to do", async (args, code, words) => {
    const ended = await run(args);
    expect(ended.err).toContain(words);
    expect(ended).toMatchObject({ code, out: "" });
  });

  it("names the job's output files, and saves them", async () => {
    const { name, token } = await edge.makeSpace({ offline: "queue" });
    const handler: JobHandler = async (job) => {
      await job.file("cat.txt", new TextEncoder().encode("miaow"));
      return { files: 1 };
    };
    const worker = new RemoteWorker({ url: edge.url, space: name, token, handler });
    void worker.run();
    onTestFinished(() => worker.stop());
    const folder = join(await temporaryFolder(), "made", "for it");
    const saved = await run(["submit", name, "x", "--save", folder]);
    expect(saved).toMatchObject({ code: 0, out: '{"files":1}\n' });
    expect(await readFile(join(folder, "cat.txt"), "utf8")).toBe("miaow");
    const { err } = await run(["submit", name, "x"]);
    const [, address = ""] = /^file cat.txt \(5 bytes\): (http\S+)$/m.exec(err) ?? [];
    expect(await (await fetch(address)).text()).toBe("miaow");
  });

  it("without a worker says what to do", async () => {
    const empty = await edge.makeSpace();
    const { code, err } = await run(["submit", empty.name, "x"]);
    expect(err).toMatch(/^error: .*\n {2}help: start a worker/);
    expect(code).toBe(4);
  });
});

describe("follow", () => {
  it("goes on over a broken connection, and misses nothing", async () => {
    const network = await Network.start(edge.url);
    onTestFinished(() => network.close());
    const { prints, ended, goOn } = await startWaitingJob(space.name, { url: network.url });
    await prints("begin");
    network.set({ dials: "reset" });
    network.reset();
    await prints("no connection:");
    network.set();
    await prints("connected again");
    await goOn();
    expect(await ended).toMatchObject({ code: 0, out: "begin x\nend\n" });
  });

  it("prints a job that has ended from its beginning, or from a position on", async () => {
    const { shown, ended } = start(["submit", space.name, "a cat", "--json"]);
    await ended;
    const events = shown.out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    const [first] = events.filter(({ type }) => type === "output");
    const id = events[0].job_id;
    expect(await run(["follow", id])).toMatchObject({ code: 0, out: "begin a cat\nend\n" });
    const rest = await run(["follow", id, "--since", first.position]);
    expect(rest).toMatchObject({ code: 0, out: "end\n" });
  });
});

describe("Ctrl-C", () => {
  it("without a terminal leaves, and the job goes on", async () => {
    const { child, prints, ended, goOn, shown } = await startWaitingJob(space.name);
    await prints("begin");
    child.kill("SIGINT");
    const { code, err } = await ended;
    expect(code).toBe(130);
    const id = JOB_ID.exec(shown.err)?.[1] ?? "";
    expect(err).toContain("left before the job ended; it goes on");
    const [, since = ""] = /--since (\S+)/.exec(err) ?? [];
    await goOn();
    expect(await run(["follow", id, "--since", since])).toMatchObject({ code: 0, out: "end\n" });
  });

  it.each([
    ["yes", "y\n", "error: the job was canceled", 3],
    ["no", "n\n", "end", 0],
    ["a second Ctrl-C", "\u0003", "it goes on", 130],
  ])("on a terminal asks; the answer is %s", async (_name, answer, words, code) => {
    const gate = join(await temporaryFolder(), "go-on");
    const script = join(await temporaryFolder(), "type-keys.py");
    await writeFile(script, PTY);
    const command = [process.execPath, CLI, "submit", space.name, "x", "--field", `until=${gate}`];
    const env = { ...process.env, DIALOUT_URL: edge.url, NO_COLOR: "1" };
    const ended = await outcomeOf(spawn("python3", [script, answer, gate, ...command], { env }));
    expect(ended.printed).toMatch(/Cancel the job space-\S+\? \[y\/N, Ctrl-C leaves it running\]/);
    expect(ended.printed).toContain(words);
    expect(ended.code).toBe(code);
  });
});

/** Runs a command on a terminal of its own, types Ctrl-C and then the answer, and lets the job go on. */
const PTY = `
import os, pty, sys, time
answer, gate, *command = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0: os.execv(command[0], command)
shown, typed = b"", []
def type_once(name, keys):
    if name not in typed:
        typed.append(name)
        os.write(terminal, keys)
while True:
    try: piece = os.read(terminal, 4096)
    except OSError: break
    if not piece: break
    shown += piece
    sys.stdout.buffer.write(piece); sys.stdout.flush()
    if b"begin x" in shown: type_once("interrupt", b"\\x03")
    if b"leaves it running]" in shown:
        type_once("answer", answer.encode())
        open(gate, "w").close() if answer.startswith("n") else None
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
`;

describe("the lists", () => {
  const asOperator = { env: { DIALOUT_KEY: operatorKey() } };

  it("of spaces has the space", async () => {
    const { out, code } = await run(["spaces"], asOperator);
    expect(out.split("\n").find((line) => line.startsWith(space.name))).toContain("\tconnected\t");
    expect(code).toBe(0);
  });

  it("of jobs has pages, states and JSON", async () => {
    for (let made = 0; made < 3; made += 1) await run(["submit", space.name, `job ${made}`]);
    const first = await run(
      ["jobs", space.name, "--limit", "2", "--status", "completed"],
      asOperator,
    );
    expect(first.out.trimEnd().split("\n")).toHaveLength(2);
    const [, cursor = ""] = /--cursor (\S+)/.exec(first.err) ?? [];
    const next = await run(
      ["jobs", space.name, "--limit", "1", "--cursor", cursor, "--json"],
      asOperator,
    );
    expect(JSON.parse(next.out)).toMatchObject({ status: "completed", space: space.name });
  });
});

it("ends quietly when whoever reads has gone", async () => {
  const { goOn, prints, child, ended } = await startWaitingJob(space.name);
  await prints("begin");
  child.stdout.destroy();
  await goOn();
  expect(await ended).toMatchObject({ code: 141, err: expect.not.stringContaining("Error") });
});

describe("the samples of docs/terminal.md", () => {
  it("run as they stand", async () => {
    const worker = await edge.makeSpace({ enable_file_upload: true });
    await edge.startWorker(worker, ["exec", "--", "cat"]);
    const command = `dialout() { node "${CLI}" "$@"; }\nexport DIALOUT_URL=${edge.url}\n`;
    const here = (code: string) => command + code.replaceAll(" demo", ` ${worker.name}`);
    const submit = here(sampleOf("docs/terminal.md", "dialout spaces")).replace(
      "> analysis.txt",
      "",
    );
    expect(await paste(submit, edge.url)).toContain('"prompt":"One sentence. Another one.\\n"');
    const follow =
      here(sampleOf("docs/terminal.md", "dialout follow")).split("dialout cancel")[0] ?? "";
    expect(await paste(follow, edge.url)).toContain("One sentence. Another one.");
    expect(
      await paste(here(sampleOf("docs/terminal.md", "dialout doctor demo")), edge.url),
    ).toContain("is in order");
  });
});
