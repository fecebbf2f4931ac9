import { z } from "zod";
import type { Json, JsonObject } from "../../../src/protocol/codec.ts";
import { jsonObject } from "../../../src/protocol/values.ts";
import { JobFailure } from "../../failure.ts";
import { withoutPlaces } from "../local-server/server-error.ts";
import { nodeError } from "./messages.ts";
import { titleOf, type Workflow } from "./workflow.ts";

const problem = z.object({ message: z.string().catch(""), details: z.string().catch("") });
const refusedPrompt = z.object({
  error: z.union([z.string(), problem]).nullish(),
  node_errors: z
    .record(z.string(), z.object({ errors: z.array(problem).default([]) }))
    .catch({})
    .default({}),
});
/** What ComfyUI keeps of a prompt that is over. */
export const historyEntry = z.object({
  outputs: z.record(z.string(), jsonObject).default({}),
  status: z
    .object({
      status_str: z.string().nullish(),
      messages: z.array(z.tuple([z.string(), jsonObject])).nullish(),
    })
    .nullish(),
});
export type HistoryEntry = z.infer<typeof historyEntry>;

const SHOWN_CHARS = 600;

/** What is wrong with a workflow, in words; `null` if the server doesn't say. */
export function describeRefusal(answer: Json, workflow: Workflow): string | null {
  const read = refusedPrompt.safeParse(answer);
  if (!read.success) return null;
  const { error, node_errors } = read.data;
  const ofNodes = Object.entries(node_errors).flatMap(([id, { errors }]) =>
    errors.map((said) => `“${titleOf(workflow, id)}”: ${sentence(said)}`),
  );
  const general = typeof error === "string" ? error : error ? sentence(error) : "";
  const words = withoutPlaces(ofNodes.length > 0 ? ofNodes.slice(0, 5).join("; ") : general);
  if (words === "") return null;
  return words.length > SHOWN_CHARS ? `${words.slice(0, SHOWN_CHARS)}…` : words;
}

function sentence({ message, details }: z.infer<typeof problem>): string {
  return details.trim() === "" ? message : `${message} (${details.trim()})`;
}

/** Why a run failed, from its history; `null` if it did not. */
export function failureIn({ status }: HistoryEntry, workflow: Workflow): JobFailure | null {
  for (const [type, data] of status?.messages ?? []) {
    if (type === "execution_error") return executionFailure(data, workflow);
    if (type === "execution_interrupted") return interrupted();
  }
  return status?.status_str === "error"
    ? new JobFailure("worker_error", "ComfyUI could not finish the workflow.")
    : null;
}

export function interrupted(): JobFailure {
  return new JobFailure("worker_error", "Somebody interrupted the workflow in ComfyUI.");
}

/** The failure of a node, without its traceback and without paths of this machine (W18a). */
export function executionFailure(data: JsonObject, workflow: Workflow): JobFailure {
  const read = nodeError.safeParse(data);
  const { node_id, exception_message } = read.success ? read.data : {};
  const title = titleOf(workflow, node_id ?? "");
  const said = withoutPlaces((exception_message ?? "").trim().split("\n")[0] ?? "");
  const words = said === "" ? "." : `: ${said.slice(0, SHOWN_CHARS)}`;
  return new JobFailure("worker_error", `ComfyUI's node “${title}” failed${words}`);
}
