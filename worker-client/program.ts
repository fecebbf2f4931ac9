/** The command line of `dialout-worker`. */
import { readFileSync } from "node:fs";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import packageInfo from "../package.json" with { type: "json" };
import type { Adapter } from "./adapters/adapter.ts";
import { demoAdapter } from "./adapters/demo.ts";
import { execAdapter } from "./adapters/exec.ts";
import { keepAdapter } from "./adapters/keep.ts";
import type { ProgramOptions } from "./adapters/program-process.ts";
import { whyNotRunnable } from "./adapters/runnable.ts";
import { consoleLog } from "./console-log.ts";
import { examineWorker } from "./doctor-command.ts";
import { readEdgeAddress } from "./edge-address.ts";
import type { Log } from "./log.ts";
import { readSchemaFile } from "./schema-file.ts";
import { serve } from "./serve.ts";
import { addServerCommands } from "./server-commands.ts";
import { InvalidOptions } from "./worker-options.ts";

const EXIT_USAGE = 2;

interface TargetOptions {
  url: string;
  space?: string;
  token?: string;
  tokenFile?: string;
}

interface CommonOptions extends TargetOptions {
  concurrency: number;
  capabilities: string[];
  workerId?: string;
  name?: string;
  schema?: string;
  wait: boolean;
  verbose: boolean;
}

function rootCommand(): Command {
  const root = new Command("dialout-worker")
    .description("Dials out to a Dialout edge and serves a space.")
    .version(packageInfo.version, "--version", "print the version")
    .enablePositionalOptions()
    .showHelpAfterError("(--help lists the options)")
    .exitOverride();

  addCommonOptions(root.command("exec"))
    .description("run a program: jobs as JSON on its standard input, lines on its output")
    .usage("[options] -- program [args…]")
    .argument("<program>")
    .argument("[args...]")
    .option(
      "--retryable-exit-codes <list>",
      "exit codes after which the job is tried again, such as 75,137",
      parseExitCodes,
      [],
    )
    .option(
      "--show-stderr",
      "if the program fails, send the end of its standard error to the submitter",
      false,
    )
    .option("--keep", "start the program once, and give it one job after the other", false)
    .option(
      "--ready-timeout <s>",
      'with --keep: seconds until the program must have written {"type":"ready"}',
      parseSeconds,
      600,
    )
    .option(
      "--cancel-grace <s>",
      "with --keep: seconds after which a program that goes on with a canceled job is killed",
      parseSeconds,
      5,
    )
    .option("--schema <path>", "a file with the JSON Schemas of the jobs' input and output")
    .passThroughOptions()
    .action((program: string, args: string[], options: ExecCliOptions, command: Command) => {
      const why = whyNotRunnable(program, process.env.PATH ?? "");
      if (why !== null) failUsage(command, `the program "${program}" can't be started: ${why}`);
      return run(command, options, (log, secret) =>
        adapterFor({ program, args, log, secret, ...options }),
      );
    });

  addCommonOptions(root.command("demo"))
    .description("analyse the language of prompts, and read the text in images")
    .option(
      "--pace-ms <ms>",
      "milliseconds between sentences, so that people can follow",
      parseWholeNumber,
      120,
    )
    .action((options: DemoCliOptions, command: Command) =>
      run(command, options, () => demoAdapter({ paceMs: options.paceMs })),
    );

  addServerCommands(root, { addCommonOptions, run, failUsage });
  addTargetOptions(root.command("doctor"))
    .description("say step by step what keeps a worker from serving; it disturbs no other worker")
    .usage("[options] [-- program]")
    .argument("[program]", "the program that exec is to run")
    .argument("[args...]")
    .option("--json", "print one JSON object a line", false)
    .passThroughOptions()
    .action(
      async (
        program: string | undefined,
        _args: string[],
        options: DoctorCliOptions,
        command: Command,
      ) => {
        const { url, space, json } = options;
        const token = findToken(command, options);
        process.exitCode = await examineWorker({ url, space, token, program, json });
      },
    );
  return root;
}

type ExecCliOptions = CommonOptions & {
  retryableExitCodes: number[];
  showStderr: boolean;
  keep: boolean;
  readyTimeout: number;
  cancelGrace: number;
};
type DemoCliOptions = CommonOptions & { paceMs: number };
type DoctorCliOptions = TargetOptions & { json: boolean };

function adapterFor(options: ProgramOptions & ExecCliOptions): Adapter {
  const { program, args, log, secret, retryableExitCodes, showStderr } = options;
  const shared = { program, args, log, secret, retryableExitCodes, showStderr };
  if (!options.keep) return execAdapter(shared);
  const { readyTimeout, cancelGrace } = options;
  const times = { readyTimeoutMs: readyTimeout * 1_000, cancelGraceMs: cancelGrace * 1_000 };
  return keepAdapter({ ...shared, ...times });
}

function addTargetOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--url <url>", "address of the edge")
        .env("DIALOUT_URL")
        .default("http://127.0.0.1:8787"),
    )
    .addOption(new Option("--space <name>", "the space to serve").env("DIALOUT_SPACE"))
    .addOption(new Option("--token <token>", "a worker token of the space").env("DIALOUT_TOKEN"))
    .option("--token-file <path>", "a file with the token; used instead of DIALOUT_TOKEN");
}

function addCommonOptions(command: Command): Command {
  return addTargetOptions(command)
    .option("--concurrency <n>", "how many jobs to run at once", parseWholeNumber, 1)
    .option(
      "--capabilities <list>",
      "what this worker can do, such as gpu,large: jobs may require it",
      parseList,
      [],
    )
    .option("--worker-id <id>", "id of this worker (default: a new one for every process)")
    .option("--name <name>", "name that is shown to people")
    .option("--no-wait", "end if other workers have every place of the space, instead of waiting")
    .option("--verbose", "log more details", false);
}

async function run(
  command: Command,
  options: CommonOptions,
  makeAdapter: (log: Log, token: string) => Adapter,
): Promise<void> {
  const { concurrency, capabilities, workerId, name, schema, wait, verbose } = options;
  const token = readToken(command, options);
  const { url, space } = readTarget(command, options);
  const log = consoleLog(verbose);
  try {
    process.exitCode = await serve(makeAdapter(log, token), {
      url,
      space,
      token,
      concurrency,
      capabilities,
      workerId,
      name,
      schema: schema === undefined ? undefined : readSchemaFile(schema),
      waitForPlace: wait,
      log,
    });
  } catch (error) {
    if (error instanceof InvalidOptions) failUsage(command, error.message);
    throw error;
  }
}

function readTarget(command: Command, options: CommonOptions): { url: string; space: string } {
  const { url, space: named } = readEdgeAddress(options.url);
  const space = options.space ?? named;
  if (space === null) return failUsage(command, "name the space: --space or DIALOUT_SPACE");
  if (named !== null && named !== space) {
    failUsage(command, `the address is of the space ${named}, but the space to serve is ${space}`);
  }
  return { url, space };
}

function readToken(command: Command, options: TargetOptions): string {
  const missing = "a token is missing: --token-file, --token or DIALOUT_TOKEN";
  return findToken(command, options) ?? failUsage(command, missing);
}

/** The token, wherever it was given; `null` if it wasn't. */
function findToken(command: Command, { token, tokenFile }: TargetOptions): string | null {
  if (tokenFile === undefined) return token ?? null;
  if (command.getOptionValueSource("token") === "cli") {
    failUsage(command, "give either --token or --token-file, not both");
  }
  try {
    return readFileSync(tokenFile, "utf8").trim();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return failUsage(command, `the token file can't be read: ${why}`);
  }
}

function failUsage(command: Command, message: string): never {
  return command.error(`error: ${message}`);
}

function parseWholeNumber(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError("It is not a whole number.");
  return Number(value);
}

/** A day is the most: what waits longer waits forever. */
function parseSeconds(value: string): number {
  const seconds = /^\d{1,5}$/.test(value) ? Number(value) : 0;
  if (seconds >= 1 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError("It is not a number of seconds from 1 to 86400.");
}

function parseList(value: string): string[] {
  return value
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");
}

function parseExitCodes(value: string): number[] {
  return value.split(",").map((text) => {
    const code = /^\s*\d{1,3}\s*$/.test(text) ? Number(text) : 0;
    if (code >= 1 && code <= 255) return code;
    throw new InvalidArgumentError("Exit codes are whole numbers from 1 to 255.");
  });
}

try {
  await rootCommand().parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
}
// A model may leave threads running that would keep the process alive.
process.exit();
