import { randomUUID } from "node:crypto";
import { openAsBlob, readFileSync, statSync } from "node:fs";
import { basename, extname } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import type { JobHandle, JsonObject, SubmitFiles, SubmitOptions } from "../src/client/index.ts";
import { parseExact } from "../src/protocol/exact-json.ts";
import { jsonObject } from "../src/protocol/values.ts";
import { accessTo, addEdgeOptions, type EdgeAccess, type EdgeOptions } from "./edge-options.ts";
import { EXIT } from "./exit-code.ts";
import { submitAgain, UsageError } from "./explain.ts";
import { followToEnd } from "./follow-to-end.ts";
import { buildInput, type InputSchema, inputSchema, parseField } from "./input-fields.ts";
import { type Leaving, onInterrupt } from "./interrupt.ts";
import { addOutputOptions, type OutputOptions, printingOf, screenFor } from "./output-options.ts";
import { prepareFolder } from "./save-outputs.ts";
import type { Screen } from "./screen.ts";

type SubmitCliOptions = EdgeOptions &
  OutputOptions & {
    field: string[];
    input?: string;
    file: string[];
    priority?: number;
    requires?: string[];
    jobTimeout?: number;
    queueTimeout?: number;
    user?: string;
    idempotencyKey?: string;
    wait: boolean;
  };

export function addSubmitCommand(root: Command): void {
  const command = root
    .command("submit")
    .description("submit a job, and print its output as it comes")
    .argument("<space>", "the space that is to do it")
    .argument("[prompt]", "the prompt; - reads it from standard input")
    .option(
      "-f, --field <name=value>",
      "a field of the input; name:=JSON for one of any type",
      collect,
      [],
    )
    .option(
      "--input <json>",
      "the whole input, as JSON; @path reads it from a file, @- from standard input",
    )
    .option("--file <field=path>", "send a file; may be given several times", collect, [])
    .option("--priority <n>", "jobs of a higher priority go first", parseNumber)
    .option("--requires <list>", "what the worker must be able to do, such as gpu,large", (text) =>
      text.split(","),
    )
    .option("--job-timeout <seconds>", "how long an attempt may run", parseNumber)
    .option("--queue-timeout <seconds>", "how long the job may wait", parseNumber)
    .option("--user <id>", "whose job it is, if you manage the space")
    .option("--idempotency-key <key>", "two submits with the same key make one job")
    .option("--no-wait", "print the job's id and end");
  addOutputOptions(addEdgeOptions(command)).action(
    async (space: string, prompt: string | undefined, options: SubmitCliOptions) => {
      process.exitCode = await submit(space, prompt ?? null, options);
    },
  );
}

async function submit(
  space: string,
  prompt: string | null,
  options: SubmitCliOptions,
): Promise<number> {
  const screen = screenFor(options);
  const edge = accessTo(options);
  if (options.save !== undefined) await prepareFolder(options.save);
  const read = await readInput(prompt, options);
  const files = await openFiles(options.file);
  const schema = read.needsSchema ? await schemaOf(edge, space) : null;
  const input = buildInput(read, schema);
  const job = await send(edge, space, input, files, options, screen);
  if (typeof job === "number") return job;
  if (!options.wait) {
    screen.line(options.json ? JSON.stringify({ type: "accepted", job_id: job.id }) : job.id);
    return EXIT.ok;
  }
  if (options.json) screen.line(JSON.stringify({ type: "accepted", job_id: job.id }));
  else screen.note(`job ${job.id}`);
  return followToEnd({ job, screen, printing: printingOf(options), saveTo: options.save });
}

/** Returns the job, or the exit code if the program was left before there was an answer. */
async function send(
  { client }: EdgeAccess,
  space: string,
  input: JsonObject,
  files: SubmitFiles | undefined,
  options: SubmitCliOptions,
  screen: Screen,
): Promise<JobHandle | number> {
  const idempotencyKey = options.idempotencyKey ?? randomUUID();
  const stop = new AbortController();
  const left: { by: Leaving | null } = { by: null };
  const stopListening = onInterrupt(screen, {
    onYes: () => undefined,
    onLeave: (signal) => {
      left.by = signal;
      stop.abort(signal);
    },
  });
  const settings: SubmitOptions = {
    files,
    idempotencyKey,
    signal: stop.signal,
    onSending: (sending) => {
      if (sending.state === "waiting") screen.note(`${sending.error.message} Trying again.`);
    },
    ...settingsOf(options),
  };
  try {
    return await client.space(space).submit(input, settings);
  } catch (error) {
    if (left.by === null) throw error;
    screen.warning("left before the edge answered", [submitAgain(idempotencyKey)]);
    return left.by === "SIGINT" ? EXIT.interrupted : EXIT.terminated;
  } finally {
    stopListening();
  }
}

function settingsOf(options: SubmitCliOptions): SubmitOptions {
  const { priority, requires, user, jobTimeout, queueTimeout } = options;
  return {
    ...(priority === undefined ? {} : { priority }),
    ...(requires === undefined ? {} : { requires }),
    ...(user === undefined ? {} : { user }),
    ...(jobTimeout === undefined ? {} : { job_timeout_s: jobTimeout }),
    ...(queueTimeout === undefined ? {} : { queue_timeout_s: queueTimeout }),
  };
}

async function readInput(given: string | null, options: SubmitCliOptions) {
  const fields = options.field.map(parseField);
  if (given === "-" && options.input === "@-") {
    throw new UsageError("standard input can't be both the prompt and the input");
  }
  const prompt = given === "-" ? await readStandardInput() : given;
  const base = options.input === undefined ? {} : await readBase(options.input);
  const isEmpty = prompt === null && fields.length === 0 && options.input === undefined;
  if (isEmpty && options.file.length === 0) {
    throw new UsageError(
      "there is nothing to submit",
      'give a prompt, --field name=value, --file field=path, or --input; for an empty input: --input "{}"',
    );
  }
  return { prompt, fields, base, needsSchema: prompt !== null || fields.length > 0 };
}

async function readBase(given: string): Promise<JsonObject> {
  const text = given.startsWith("@") ? await readNamed(given.slice(1)) : given;
  let value: unknown;
  try {
    value = parseExact(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--input is not JSON: ${why}`, "--input @path reads it from a file");
  }
  const read = jsonObject.safeParse(value);
  if (read.success) return read.data;
  throw new UsageError("--input must be a JSON object", 'such as --input \'{"prompt": "a cat"}\'');
}

async function readNamed(path: string): Promise<string> {
  if (path === "-") return readStandardInput();
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--input @${path}: ${error instanceof Error ? error.message : error}`);
  }
}

async function readStandardInput(): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces).toString("utf8");
}

/** What the space says about its input, if it says anything. */
const describedSpace = z.object({ schema: z.object({ input: inputSchema.nullish() }).nullish() });

async function schemaOf({ client }: EdgeAccess, space: string): Promise<InputSchema | null> {
  const read = describedSpace.safeParse(await client.space(space).get());
  return read.data?.schema?.input ?? null;
}

/** The files are read while they are sent, and not before. */
async function openFiles(given: readonly string[]): Promise<SubmitFiles | undefined> {
  if (given.length === 0) return undefined;
  const files: Record<string, Blob[]> = {};
  for (const text of given) {
    const [, field, path] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
    if (field === undefined || path === undefined) {
      throw new UsageError(
        `--file ${text}: it names no file`,
        "write --file field=path, such as image=cat.png",
      );
    }
    const opened = await openFile(path).catch((error) => {
      throw new UsageError(`--file ${text}: ${error instanceof Error ? error.message : error}`);
    });
    files[field] = [...(files[field] ?? []), opened];
  }
  return files;
}

async function openFile(path: string): Promise<File> {
  if (!statSync(path).isFile()) throw new Error(`${path} is not a file`);
  const type = TYPES[extname(path).toLowerCase()] ?? "application/octet-stream";
  return new File([await openAsBlob(path)], basename(path), { type });
}

/** The content types of files that models often take; the edge and the worker look at the bytes. */
const TYPES: Record<string, string> = {
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".gif": "image/gif",
  ".webp": "image/webp",
  ".mp3": "audio/mpeg",
  ".wav": "audio/wav",
  ".ogg": "audio/ogg",
  ".flac": "audio/flac",
  ".m4a": "audio/mp4",
  ".mp4": "video/mp4",
  ".webm": "video/webm",
  ".pdf": "application/pdf",
  ".json": "application/json",
  ".csv": "text/csv",
  ".txt": "text/plain",
};

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function parseNumber(text: string): number {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is not a number.");
}
