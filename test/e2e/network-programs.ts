/// <reference lib="dom" />
import { spawn } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { onTestFinished } from "vitest";
import { DialoutClient } from "../../src/client/index.ts";
import { Network } from "../support/network.ts";
import { Program } from "../support/program.ts";
import { PYTHON, PYTHON_ENV } from "../support/python-package.ts";
import { CHROMIUM } from "./chromium.ts";
import { EdgeClient } from "./client.ts";
import { launchPythonModel, launchPythonWorker } from "./python.ts";
import { sampleOf } from "./samples.ts";
import { CLI } from "./terminal-program.ts";

/** A program that dials an edge through a network of its own. */
export interface DialingProgram {
  network: Network;
  /** What it has received of the job that it follows, or the results that it has delivered. */
  received(): string[] | Promise<string[]>;
  /** Lets time pass for it, if the test decides about its time. */
  pass?(ms: number): Promise<void>;
}

export interface Place {
  edge: EdgeClient;
  /** A job whose output the followers follow. */
  job: string;
  space: { name: string; token: string };
}

type StartProgram = (place: Place) => Promise<DialingProgram>;

const MARK = /mark-\d+/g;
/** Silence after which the programs take a connection for dead; as short as tests need it. */
const SILENCE_S = 3;

async function networkTo(edge: EdgeClient): Promise<Network> {
  const network = await Network.start(edge.url);
  onTestFinished(() => network.close());
  return network;
}

/** An edge whose workers notice a dead connection soon: the numbers in its `hello` are the same in length. */
async function hastyNetworkTo(edge: EdgeClient): Promise<Network> {
  const network = await networkTo(edge);
  network.replace('"heartbeat_s":10,"lease_s":30', `"heartbeat_s": 1,"lease_s": ${SILENCE_S}`);
  return network;
}

const startClient: StartProgram = async ({ edge, job }) => {
  const network = await networkTo(edge);
  const limits = { heartbeat: SILENCE_S * 500, requestTimeout: 2_000 };
  const client = new DialoutClient({ url: network.url, ...limits });
  const marks: string[] = [];
  client
    .job(job)
    .follow({ onOutput: ({ delta }) => marks.push(...(String(delta).match(MARK) ?? [])) });
  onTestFinished(() => client.close());
  return { network, received: () => marks };
};

/** It follows the space and the job, twice, over one socket. */
const startSpaceClient: StartProgram = async ({ edge, job, space }) => {
  const network = await networkTo(edge);
  const limits = { heartbeat: SILENCE_S * 500, requestTimeout: 2_000 };
  const client = new DialoutClient({ url: network.url, ...limits });
  onTestFinished(() => client.close());
  const handle = client.space(space.name);
  handle.watch({});
  const [marks, others]: [string[], string[]] = [[], []];
  for (const found of [marks, others]) {
    handle
      .job(job)
      .follow({ onOutput: ({ delta }) => found.push(...(String(delta).match(MARK) ?? [])) });
  }
  const received = () => (marks.join() === others.join() ? marks : [...marks, "or", ...others]);
  return { network, received };
};

const startPage: StartProgram = async ({ edge, job, space }) => {
  const network = await networkTo(edge);
  const browser: Browser = await chromium.launch(CHROMIUM);
  onTestFinished(() => browser.close());
  const page = await browser.newPage();
  // Time goes on by itself, and a test can let much of it pass at once.
  await page.clock.install();
  await page.goto(`${network.url}/spaces/${space.name}#job=${job}`);
  const output = page.getByTestId("job");
  await output.waitFor();
  return {
    network,
    received: async () => (await output.innerText()).match(MARK) ?? [],
    pass: (ms) => page.clock.runFor(ms),
  };
};

const startCurl: StartProgram = async ({ edge, job }) => {
  const network = await networkTo(edge);
  const sample = sampleOf("docs/protocol.md", "# Follows the job until the edge says");
  const loop = sample.slice(sample.indexOf("# Follows the job"));
  const script = `EDGE=${network.url}\nID=${job}\n${loop.replace("--speed-time 40", `--speed-time ${SILENCE_S}`)}`;
  const cwd = await mkdtemp(join(tmpdir(), "dialout-curl-"));
  // In a process group of its own, because it is to be killed with the programs that it runs.
  const shell = spawn("bash", ["-c", script], { cwd, detached: true });
  let printed = "";
  shell.stdout.on("data", (text) => {
    printed += text;
  });
  onTestFinished(() => void (shell.pid !== undefined && process.kill(-shell.pid, "SIGKILL")));
  return { network, received: () => printed.match(MARK) ?? [] };
};

const startTerminal: StartProgram = async ({ edge, job }) => {
  const network = await networkTo(edge);
  const args = ["follow", job, "--heartbeat", String(SILENCE_S / 2)];
  const program = new Program(CLI, args, { DIALOUT_URL: network.url });
  onTestFinished(async () => void (await program.stop("SIGKILL")));
  return { network, received: () => program.printed.match(MARK) ?? [] };
};

const startPythonFollower: StartProgram = async ({ edge, job }) => {
  const network = await networkTo(edge);
  const hasty = `import asyncio, follow
follow.SILENCE_S = ${SILENCE_S / 2}
asyncio.run(follow.Follower("${network.url}", "${job}").run())`;
  const env = { PYTHONPATH: "docs/examples", PYTHONDONTWRITEBYTECODE: "1" };
  const follower = new Program("-c", [hasty], env, PYTHON);
  onTestFinished(async () => void (await follower.stop("SIGKILL")));
  return { network, received: () => follower.printed.match(MARK) ?? [] };
};

const startPythonClient: StartProgram = async ({ edge, job }) => {
  const network = await networkTo(edge);
  const hasty = `import sys, dialout
from dialout.client import stream
stream.SILENCE_S = ${SILENCE_S}
for delta in dialout.Client(sys.argv[1]).job(sys.argv[2]).stream():
    print(delta, flush=True)`;
  const follower = new Program("-c", [hasty, network.url, job], PYTHON_ENV, PYTHON);
  onTestFinished(async () => void (await follower.stop("SIGKILL")));
  return { network, received: () => follower.printed.match(MARK) ?? [] };
};

/** The results of jobs that are submitted, without the network, to a worker in it. */
async function resultsOf(edge: EdgeClient, space: string): Promise<string[]> {
  const { jobs } = await edge.asOperator<{
    jobs: { id: string; status: string; attempt: number }[];
  }>("GET", `/api/spaces/${space}/jobs?limit=100`);
  const done = jobs.filter(({ status }) => status === "completed").reverse();
  const whole = await Promise.all(done.map(({ id }) => edge.job(id)));
  return whole.map(({ attempt, input }) => `${input.mark}${attempt === 1 ? "" : ` (${attempt})`}`);
}

const startWorker: StartProgram = async ({ edge, space }) => {
  const network = await hastyNetworkTo(edge);
  const through = new EdgeClient(network.url);
  await through.startWorker(space, ["exec", "--", "sh", "-c", "sleep 1; cat"]);
  return { network, received: () => resultsOf(edge, space.name) };
};

const startPythonWorker: StartProgram = async ({ edge, space: { name, token } }) => {
  const network = await hastyNetworkTo(edge);
  const worker = launchPythonWorker({ url: network.url, space: name, token });
  await worker.prints("connected");
  return { network, received: () => resultsOf(edge, name) };
};

const startPythonPackage: StartProgram = async ({ edge, space: { name, token } }) => {
  const network = await hastyNetworkTo(edge);
  const model = join(import.meta.dirname, "package_models.py:slow_echo");
  const worker = launchPythonModel({ url: network.url, space: name, token }, model);
  await worker.prints("connected");
  return { network, received: () => resultsOf(edge, name) };
};

/** A client that submits. A worker outside the network completes what arrives. */
export async function startSubmitter({ edge, space }: Omit<Place, "job">) {
  const network = await networkTo(edge);
  const client = new DialoutClient({ url: network.url, requestTimeout: 2_000 });
  onTestFinished(() => client.close());
  await edge.startWorker(space, ["exec", "--", "cat"]);
  const received = () => resultsOf(edge, space.name);
  const submit = (mark: string) =>
    client
      .space(space.name)
      .submit({ mark }, { timeout: 60_000 })
      .then((job) => job.result());
  return { network, received, submit };
}

/** What follows a job. */
export const FOLLOWERS: Record<string, StartProgram> = {
  "the client library": startClient,
  "the client library over the space's socket": startSpaceClient,
  "the page": startPage,
  "dialout in the terminal": startTerminal,
  "the loop with curl": startCurl,
  "the follower in Python": startPythonFollower,
  "the client in Python": startPythonClient,
};

/** What serves a space. */
export const WORKERS: Record<string, StartProgram> = {
  "dialout-worker": startWorker,
  "the worker in Python": startPythonWorker,
  "the Python package": startPythonPackage,
};
