import type { JsonObject } from "../../../src/protocol/codec.ts";
import type { DeclaredSchema } from "../../../src/protocol/declared-schema.ts";
import type { MappedInput } from "./mapping.ts";
import { fileFormatOf, type InputInfo, inputOf, type NodeInfo, schemaOf } from "./node-info.ts";
import { valueAt, type Workflow } from "./workflow.ts";

/** What ComfyUI says about the classes of a workflow's nodes. */
export type NodeInfos = ReadonlyMap<string, NodeInfo>;

/** What ComfyUI says about the first input that a field sets. */
export function infoOf(
  workflow: Workflow,
  infos: NodeInfos,
  mapped: MappedInput,
): InputInfo | null {
  const [target] = mapped.targets;
  const info = target && infos.get(workflow[target.node]?.class_type ?? "");
  return info ? inputOf(info, target.input) : null;
}

/** Whether a field is sent as a file. */
export function isFileField(info: InputInfo | null, { schema }: MappedInput): boolean {
  const format = typeof schema.format === "string" ? schema.format : "";
  return (
    ["image", "audio", "video", "file"].includes(format) ||
    (info !== null && fileFormatOf(info) !== null)
  );
}

/** What jobs of a workflow take and give: types, bounds and choices are ComfyUI's, defaults those of the workflow. */
export function workflowSchema(
  workflow: Workflow,
  infos: NodeInfos,
  inputs: readonly MappedInput[],
): DeclaredSchema {
  const properties: JsonObject = {};
  const required: string[] = [];
  for (const mapped of inputs) {
    const [target] = mapped.targets;
    if (target === undefined) continue;
    const info = infoOf(workflow, infos, mapped);
    const described = schemaOf(target.input, info, valueAt(workflow, target));
    properties[mapped.name] = { title: titled(mapped.name), ...described, ...mapped.schema };
    if (mapped.required || isFileField(info, mapped)) required.push(mapped.name);
  }
  return {
    input: { type: "object", properties, ...(required.length > 0 ? { required } : {}) },
    output: OUTPUT,
  };
}

/** `negative_prompt` as `Negative prompt`. */
function titled(name: string): string {
  const words = name.replaceAll("_", " ").trim();
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}`;
}

const filesOf = (format: string, title: string): JsonObject => ({
  type: "array",
  title,
  items: { type: "string", format },
});

const OUTPUT: JsonObject = {
  type: "object",
  properties: {
    images: filesOf("image", "Pictures"),
    videos: filesOf("video", "Videos"),
    audio: filesOf("audio", "Sound"),
    files: filesOf("file", "Files"),
    text: { type: "array", title: "Text", items: { type: "string" } },
    seeds: { type: "object", title: "Seeds" },
  },
};
