import { z } from "zod";
import { type BackendJobResource, backendJobResource } from "../protocol/backend-jobs.ts";
import { type JobResource, jobResource } from "../protocol/resources.ts";

/** A job of a space, or a backend job without a space. */
export type AnyJob = JobResource | BackendJobResource;

export const jobSchema: z.ZodType<AnyJob> = z.union([jobResource, backendJobResource]);
