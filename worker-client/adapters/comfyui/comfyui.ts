import { randomInt } from "node:crypto";
import type { Json, JsonObject } from "../../../src/protocol/codec.ts";
import { parseExact } from "../../../src/protocol/exact-json.ts";
import { JobFailure } from "../../failure.ts";
import type { Job } from "../../job.ts";
import type { Log } from "../../log.ts";
import { type Adapter, ModelUnusable } from "../adapter.ts";
import { type JobFolder, safeFileName, withJobFolder } from "../job-folder.ts";
import { ServerUnreachable } from "../local-server/local-request.ts";
import { LocalServer, type ServerCheck } from "../local-server/local-server.ts";
import { withPlainErrors } from "../local-server/server-error.ts";
import { ComfyServer } from "./comfy-server.ts";
import { infoOf, isFileField, workflowSchema } from "./form.ts";
import type { MappedInput, Mapping } from "./mapping.ts";
import { isSeed, type NodeInfo } from "./node-info.ts";
import { type NodeTimes, WorkflowProgress } from "./progress.ts";
import { RunFiles } from "./run-files.ts";
import { type NodeInput, type Workflow, withValues } from "./workflow.ts";
import { WorkflowRun } from "./workflow-run.ts";

export interface ComfyUiOptions {
  baseUrl: URL;
  workflow: Workflow;
  mapping: Mapping;
  log: Log;
  /** How often the server is asked while it is away, and while it is there, milliseconds. */
  retryMs?: number;
  refreshMs?: number;
}

/** Runs each job as a workflow of ComfyUI on this machine. */
export function comfyUiAdapter(options: ComfyUiOptions): Adapter {
  const comfy = new ComfyUi(options);
  const { log, baseUrl, retryMs, refreshMs } = options;
  const server = new LocalServer({
    name: baseUrl.href,
    log,
    check: (signal) => comfy.check(signal),
    retryMs,
    refreshMs,
  });
  return {
    model: server,
    handle: (job) =>
      server.run(() =>
        withPlainErrors(() => withJobFolder(job, (folder) => comfy.run(job, folder)), {
          log,
          signal: job.signal,
          onAway: () => server.onAway(),
        }),
      ),
    close: async () => server.close(),
  };
}

class ComfyUi {
  readonly #options: ComfyUiOptions;
  readonly #server: ComfyServer;
  #infos: ReadonlyMap<string, NodeInfo> = new Map();
  /** How long nodes took in the last run. */
  #times: NodeTimes = new Map();

  constructor(options: ComfyUiOptions) {
    this.#options = options;
    this.#server = new ComfyServer(options.baseUrl, options.log);
  }

  /** Asks the server what it knows about the workflow's nodes. */
  async check(signal: AbortSignal): Promise<ServerCheck> {
    const { workflow, mapping } = this.#options;
    const infos = new Map<string, NodeInfo>();
    const classes = new Set(Object.values(workflow).map(({ class_type }) => class_type));
    try {
      for (const name of classes) {
        const info = await this.#server.nodeInfo(name, signal);
        if (info === null) throw new ModelUnusable(missingClass(name));
        infos.set(name, info);
      }
    } catch (error) {
      if (!(error instanceof ServerUnreachable)) throw error;
      return { type: "away", why: `does not answer (${error.message})` };
    }
    this.#infos = infos;
    return { type: "ready", schema: workflowSchema(workflow, infos, mapping.inputs) };
  }

  async run(job: Job, folder: JobFolder): Promise<Json> {
    const { log, mapping } = this.#options;
    const { workflow, seeds } = await this.#fill(job, folder);
    const progress = new WorkflowProgress(Object.keys(workflow), this.#times);
    const files = new RunFiles({
      server: this.#server,
      job,
      folder,
      workflow,
      outputs: mapping.outputs,
      log,
    });
    const run = new WorkflowRun({
      server: this.#server,
      job,
      workflow,
      progress,
      onImage: (image) => files.onImage(image),
      log,
    });
    const outputs = await run.run();
    this.#times = progress.times;
    const made = await files.finish(outputs);
    return Object.keys(seeds).length > 0 ? { ...made, seeds } : made;
  }

  /** The workflow with what the job sets, and the seeds that were drawn for it. */
  async #fill(job: Job, folder: JobFolder): Promise<{ workflow: Workflow; seeds: JsonObject }> {
    const { workflow, mapping } = this.#options;
    const input = parseExact(job.inputText) as JsonObject;
    checkFields(input, folder, mapping.inputs);
    const values: { target: NodeInput; value: Json }[] = [];
    const seeds: JsonObject = {};
    for (const mapped of mapping.inputs) {
      const info = infoOf(workflow, this.#infos, mapped);
      if (isFileField(info, mapped)) {
        values.push(...(await this.#upload(job, folder, mapped)));
        continue;
      }
      const [target] = mapped.targets;
      let value = input[mapped.name];
      if (value === undefined && target !== undefined && isSeed(target.input, info)) {
        value = randomSeed(info?.max);
        seeds[mapped.name] = value;
      }
      if (value === undefined) continue;
      for (const each of mapped.targets) values.push({ target: each, value });
    }
    return { workflow: withValues(workflow, values), seeds };
  }

  async #upload(
    job: Job,
    folder: JobFolder,
    { name, targets }: MappedInput,
  ): Promise<{ target: NodeInput; value: Json }[]> {
    const sent = folder.files.filter(({ field }) => field === name);
    if (sent.length > targets.length) {
      throw new JobFailure(
        "worker_error",
        `The field “${name}” takes ${targets.length === 1 ? "one file" : `${targets.length} files`}, not ${sent.length}.`,
      );
    }
    const values: { target: NodeInput; value: Json }[] = [];
    for (const [index, file] of sent.entries()) {
      const target = targets[index];
      if (target === undefined) continue;
      const stored = `dialout-${job.id}-${job.attempt}-${name}-${index}-${safeFileName(file.name)}`;
      values.push({ target, value: await this.#server.upload(file, stored, job.signal) });
    }
    return values;
  }
}

function missingClass(name: string): string {
  return `this ComfyUI has no node of the class ${name}, which the workflow has: install the custom node, or remove it from the workflow`;
}

/** A field that goes nowhere is a mistake that would only show in the picture. */
function checkFields(
  input: JsonObject,
  { files }: JobFolder,
  inputs: readonly MappedInput[],
): void {
  const known = new Set(inputs.map(({ name }) => name));
  const given = [...Object.keys(input), ...files.map(({ field }) => field)];
  const unknown = given.find((name) => !known.has(name));
  if (unknown === undefined) return;
  throw new JobFailure(
    "worker_error",
    `This workflow has no input “${unknown.slice(0, 60)}”; it has ${[...known].join(", ")}.`,
  );
}

/** JavaScript, and so the pages that show it, keep every digit of numbers up to this one; `randomInt` gives 48 bits. */
const MOST_RANDOM = 2 ** 48 - 1;

function randomSeed(max = MOST_RANDOM): number {
  return randomInt(Math.min(max, MOST_RANDOM));
}
