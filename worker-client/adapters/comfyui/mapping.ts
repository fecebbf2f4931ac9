import { z } from "zod";
import { describeIssues, type JsonObject, parseJson } from "../../../src/protocol/codec.ts";
import { PLAIN_MESSAGES } from "../../../src/protocol/error-messages.ts";
import { jsonObject } from "../../../src/protocol/values.ts";
import { ModelUnusable } from "../adapter.ts";
import { findInput, listInputs, type NodeInput, type Workflow } from "./workflow.ts";

/** A field of a job's input, and the inputs of nodes that it sets. */
export interface MappedInput {
  name: string;
  targets: NodeInput[];
  /** Keywords of JSON Schema that take the place of those that ComfyUI's description of the node gives. */
  schema: JsonObject;
  required: boolean;
}

const NAME = /^[A-Za-z_]\w{0,59}$/;
const paths = z.union([z.string(), z.array(z.string()).min(1).max(100)]);

/** A mapping file: names of fields, and where each goes. */
const mappingFile = z.strictObject({
  inputs: z.record(
    z.string(),
    z.union([
      paths,
      z.strictObject({
        target: paths,
        required: z.boolean().default(false),
        schema: jsonObject.default({}),
      }),
    ]),
  ),
  /** The ids of the nodes whose files are the job's outputs; all if it is missing. */
  outputs: z.array(z.string()).optional(),
});

export interface Mapping {
  inputs: MappedInput[];
  /** The ids of the nodes whose files are the job's outputs; `null`: all. */
  outputs: readonly string[] | null;
}

/**
 * @param file the text of a mapping file, if there is one
 * @param flags mappings such as `prompt=6.inputs.text`; of several paths with commas between them
 * @throws {ModelUnusable} if they don't fit the workflow
 */
export function readMapping(
  workflow: Workflow,
  file: string | undefined,
  flags: readonly string[],
  outputs: readonly string[],
): Mapping {
  const read = file === undefined ? { inputs: {} } : readFile(file);
  const inputs = new Map<string, MappedInput>();
  for (const [field, entry] of Object.entries(read.inputs)) {
    if (!NAME.test(field)) {
      throw new ModelUnusable(
        `the field ${field} of the mapping file must have a name of letters, digits and _`,
      );
    }
    const isWhole = typeof entry === "object" && !Array.isArray(entry);
    const { target, required, schema } = isWhole
      ? entry
      : { target: entry, required: false, schema: {} };
    const targets = [target].flat().map((path) => findInput(workflow, path));
    inputs.set(field, { name: field, targets, schema, required });
  }
  for (const flag of flags) {
    const mapped = readFlag(workflow, flag);
    inputs.set(mapped.name, mapped);
  }
  if (inputs.size === 0) {
    throw new ModelUnusable(
      `no input is mapped: name at least one with --input, such as --input prompt=6.inputs.text. ${listInputs(workflow)}`,
    );
  }
  const chosen = outputs.length > 0 ? outputs : (read.outputs ?? null);
  for (const id of chosen ?? []) {
    if (workflow[id] === undefined) throw new ModelUnusable(`the workflow has no node ${id}`);
  }
  return { inputs: [...inputs.values()], outputs: chosen };
}

function readFlag(workflow: Workflow, flag: string): MappedInput {
  const [, field = "", given = ""] = /^([^=]+)=(.+)$/.exec(flag) ?? [];
  if (!NAME.test(field)) {
    throw new ModelUnusable(`--input ${flag} is not of the form name=6.inputs.text`);
  }
  const targets = given.split(",").map((path) => findInput(workflow, path));
  return { name: field, targets, schema: {}, required: false };
}

function readFile(text: string): z.infer<typeof mappingFile> {
  const parsed = parseJson(text);
  if (!parsed.ok) throw new ModelUnusable(`the mapping file is not JSON: ${parsed.message}`);
  const read = mappingFile.safeParse(parsed.value, PLAIN_MESSAGES);
  if (read.success) return read.data;
  throw new ModelUnusable(`the mapping file can't be used: ${describeIssues(read.error)}`);
}
