import type { Caller } from "../auth/caller.ts";
import { depthProblem, type Json } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import { submitBatchBody, submitJobBody } from "../protocol/resources.ts";
import type { SubmitCall } from "../space/calls.ts";
import { readJson } from "./body.ts";
import { type AppContext, callSpaceForText } from "./context.ts";
import { ProblemError, problemBody, validate } from "./problems.ts";
import { submitCallOf, submitCalls } from "./submit.ts";

/**
 * Submits many jobs in one call and one transaction. Returns JSON text with one entry for each job, in order:
 * `{job}`, or `{error}` with a problem. An error in one job doesn't affect the others.
 */
export async function submitBatch(c: AppContext, space: string, caller: Caller): Promise<string> {
  const given = await readJson(c, LIMITS.batchBodyBytes, undefined, Number.POSITIVE_INFINITY);
  const { jobs } = validate(submitBatchBody, given);
  const read = jobs.map((job) => readCall(job));
  const calls = read.flatMap((call) => (call instanceof ProblemError ? [] : [call]));
  if (calls.length === 0)
    await callSpaceForText(c, space, (stub) => stub.describe(caller, "submit"));
  const replies = await submitCalls(c, space, caller, calls, jobs.length);
  let next = 0;
  const answers = read.map((call) => {
    if (call instanceof ProblemError) return errorText(call);
    const reply = replies[next++];
    if (!reply) throw new Error("a submit of a batch was not answered");
    return reply.ok
      ? `{"job":${reply.body}}`
      : errorText(new ProblemError(reply.code, reply.detail, reply.errors));
  });
  return `{"jobs":[${answers.join()}]}`;
}

/** What a job may have within the two levels of a batch, so that a batch is as deep as any other body. */
const JOB_DEPTH = LIMITS.jsonDepth - 2;

function readCall(body: unknown): SubmitCall | ProblemError {
  // Of each job, because one that is nested too deep must not have the others refused.
  const problem = depthProblem(body as Json, JOB_DEPTH);
  if (problem !== null) return new ProblemError("invalid_json", problem);
  try {
    return submitCallOf(validate(submitJobBody, body), [], undefined);
  } catch (error) {
    if (error instanceof ProblemError) return error;
    throw error;
  }
}

function errorText(error: ProblemError): string {
  return `{"error":${JSON.stringify(problemBody(error))}}`;
}
