import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type Adapter, ModelUnusable } from "./adapters/adapter.ts";
import { comfyUiAdapter } from "./adapters/comfyui/comfyui.ts";
import { type Mapping, readMapping } from "./adapters/comfyui/mapping.ts";
import { readWorkflow, type Workflow } from "./adapters/comfyui/workflow.ts";
import { httpAdapter } from "./adapters/http/http.ts";
import { openAiAdapter } from "./adapters/openai/openai.ts";
import type { Log } from "./log.ts";

/** What the commands have in common. */
interface CommandTools<Common> {
  addCommonOptions(command: Command): Command;
  run(command: Command, options: Common, makeAdapter: (log: Log) => Adapter): Promise<void>;
  failUsage(command: Command, message: string): never;
}

interface OpenAiCliOptions {
  model?: string;
  apiKey?: string;
  vision: boolean;
}

interface ComfyUiCliOptions {
  workflow: string;
  map?: string;
  input: string[];
  output: string[];
}

/** Adds the commands whose jobs run on a server of this machine. */
export function addServerCommands<Common extends object>(
  root: Command,
  { addCommonOptions, run, failUsage }: CommandTools<Common>,
): void {
  addCommonOptions(root.command("openai"))
    .description("run jobs on an OpenAI-compatible server, such as Ollama, vLLM or llama.cpp")
    .usage("[options] <address>")
    .argument("<address>", "such as http://localhost:11434/v1", parseAddress)
    .option("--model <name>", "the model of jobs that name none (default: the server's first)")
    .addOption(new Option("--api-key <key>", "sent to the server").env("OPENAI_API_KEY"))
    .option("--vision", "the form has a field for a picture", false)
    .action((baseUrl: URL, options: Common & OpenAiCliOptions, command: Command) => {
      const { model, apiKey, vision } = options;
      return run(command, options, (log) => openAiAdapter({ baseUrl, apiKey, model, vision, log }));
    });

  addCommonOptions(root.command("comfyui"))
    .description("run jobs as a workflow of ComfyUI")
    .usage("[options] <address> --workflow workflow_api.json --input prompt=6.inputs.text")
    .argument("<address>", "such as http://localhost:8188", parseAddress)
    .requiredOption("--workflow <path>", "the workflow, exported with Workflow → Export (API)")
    .option(
      "--input <name=node.inputs.name>",
      "a field of jobs, and the input of a node that it sets; may be repeated",
      collect,
      [],
    )
    .option("--map <path>", "a file with the fields; see docs/workers.md")
    .option("--output <node>", "a node whose files are the result (default: all)", collect, [])
    .action((baseUrl: URL, options: Common & ComfyUiCliOptions, command: Command) => {
      const read = readWorkflowOptions(options);
      if (read instanceof ModelUnusable) return failUsage(command, read.message);
      return run(command, options, (log) => comfyUiAdapter({ baseUrl, ...read, log }));
    });

  addCommonOptions(root.command("http"))
    .description("post each job as JSON to an address of this machine")
    .usage("[options] <address>")
    .argument("<address>", "such as http://localhost:8000/predict", parseAddress)
    .option("--schema <path>", "a file with the JSON Schemas of the jobs' input and output")
    .action((url: URL, options: Common, command: Command) =>
      run(command, options, (log) => httpAdapter({ url, log })),
    );
}

function readWorkflowOptions(
  options: ComfyUiCliOptions,
): { workflow: Workflow; mapping: Mapping } | ModelUnusable {
  try {
    const workflow = readWorkflow(readText(options.workflow));
    const file = options.map === undefined ? undefined : readText(options.map);
    return { workflow, mapping: readMapping(workflow, file, options.input, options.output) };
  } catch (error) {
    if (error instanceof ModelUnusable) return error;
    throw error;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ModelUnusable(error instanceof Error ? error.message : String(error));
  }
}

function parseAddress(value: string): URL {
  if (!URL.canParse(value) || !/^https?:\/\//i.test(value)) {
    throw new InvalidArgumentError(
      `It is no address: write http://${value.replace(/^\w+:\/\//, "")}`,
    );
  }
  const url = new URL(value);
  if (url.username !== "" || url.password !== "") {
    throw new InvalidArgumentError("It must have no user name and no password.");
  }
  url.hash = "";
  return url;
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}
