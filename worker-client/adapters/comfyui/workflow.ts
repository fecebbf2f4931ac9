import { z } from "zod";
import type { Json } from "../../../src/protocol/codec.ts";
import { parseExact } from "../../../src/protocol/exact-json.ts";
import { json, jsonObject } from "../../../src/protocol/values.ts";
import { ModelUnusable } from "../adapter.ts";

const node = z.looseObject({
  class_type: z.string(),
  inputs: z.record(z.string(), json).default({}),
  _meta: z.looseObject({ title: z.string().optional() }).optional(),
});
export type WorkflowNode = z.infer<typeof node>;

/** A workflow as ComfyUI exports it for its API: nodes by their ids. */
export type Workflow = Record<string, WorkflowNode>;

/** @throws {ModelUnusable} if the text is no workflow, with what to do about it */
export function readWorkflow(text: string): Workflow {
  let value: Json;
  try {
    // With every digit: seeds have up to 20.
    value = parseExact(text);
  } catch {
    throw new ModelUnusable("the workflow file is not valid JSON");
  }
  const exported = jsonObject.safeParse(value);
  if (exported.success && Array.isArray(exported.data.nodes)) {
    throw new ModelUnusable(
      "the workflow file was saved for ComfyUI's page: export it with Workflow → Export (API)",
    );
  }
  const workflow = z.record(z.string(), node).safeParse(value);
  if (!workflow.success || Object.keys(workflow.data).length === 0) {
    throw new ModelUnusable(
      'the workflow file is no workflow of ComfyUI\'s API, such as {"3":{"class_type":"KSampler","inputs":{…}}}',
    );
  }
  return workflow.data;
}

/** One input of one node. */
export interface NodeInput {
  node: string;
  input: string;
}

/**
 * Finds the input that `6.inputs.text`, `6.text` or `Positive prompt.text` names; the node by its id, or by its title
 * if only one has it.
 *
 * @throws {ModelUnusable} if there is none, with those that there are
 */
export function findInput(workflow: Workflow, path: string): NodeInput {
  const match = /^(.+?)\.(?:inputs\.)?([^.]+)$/.exec(path.trim());
  const [, named = "", input = ""] = match ?? [];
  const ids = workflow[named] === undefined ? idsTitled(workflow, named) : [named];
  const [id] = ids;
  const found = id === undefined || ids.length > 1 ? undefined : workflow[id];
  if (id === undefined || found === undefined) {
    const why =
      ids.length > 1 ? `nodes ${ids.join(", ")} have that title` : "there is no such node";
    throw new ModelUnusable(`the workflow has no input ${path}: ${why}. ${listInputs(workflow)}`);
  }
  const given = found.inputs[input];
  if (given === undefined) {
    throw new ModelUnusable(
      `the node ${id} (${found.class_type}) has no input ${input}. ${listInputs(workflow)}`,
    );
  }
  if (isLink(given)) {
    throw new ModelUnusable(
      `the input ${path} comes from the node ${String(given[0])}: name an input of that one instead`,
    );
  }
  return { node: id, input };
}

function idsTitled(workflow: Workflow, title: string): string[] {
  return Object.entries(workflow).flatMap(([id, { _meta }]) =>
    _meta?.title === title ? [id] : [],
  );
}

/** An input that is another node's output: `[node, number of the output]`. */
function isLink(value: Json): value is Json[] {
  return Array.isArray(value) && value.length === 2 && typeof value[1] === "number";
}

/** How many inputs a message lists. */
const LISTED = 40;

/** The inputs that jobs may set, in words. */
export function listInputs(workflow: Workflow): string {
  const names = Object.entries(workflow).flatMap(([id, { class_type, inputs }]) =>
    Object.entries(inputs)
      .filter(([, value]) => !isLink(value))
      .map(([input]) => `${id}.inputs.${input} (${class_type})`),
  );
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : "";
  return `Its inputs: ${names.slice(0, LISTED).join(", ")}${more}`;
}

export function valueAt(workflow: Workflow, { node: id, input }: NodeInput): Json {
  return workflow[id]?.inputs[input] ?? null;
}

/** The workflow with other values in some of its inputs. */
export function withValues(
  workflow: Workflow,
  values: readonly { target: NodeInput; value: Json }[],
): Workflow {
  const changed = { ...workflow };
  for (const { target, value } of values) {
    const before = changed[target.node];
    if (before === undefined) continue;
    changed[target.node] = { ...before, inputs: { ...before.inputs, [target.input]: value } };
  }
  return changed;
}

/** How a node is called in messages: its title, or its class. */
export function titleOf(workflow: Workflow, id: string): string {
  // A node that another one has expanded into has an id such as `12.0.3`.
  const found = workflow[id] ?? workflow[id.split(".", 1)[0] ?? ""];
  return found?._meta?.title ?? found?.class_type ?? `node ${id}`;
}
