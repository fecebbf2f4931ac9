import { z } from "zod";
import {
  type JobResource,
  type JobStatus,
  jobResource,
  type SpaceResource,
  spaceResource,
} from "../protocol/resources.ts";
import type { Edge } from "./edge.ts";
import type { SendOptions } from "./sending.ts";

export interface PageOptions extends SendOptions {
  /** The `next` of the page before; without it the list begins. */
  cursor?: string;
  /** How many entries a page has at most, 1 to 100. */
  limit?: number;
}

export interface JobsOptions extends PageOptions {
  /** Only jobs in this state. */
  status?: JobStatus;
}

/** `next`: the `cursor` of the next page; `null`: this is the last one. */
export interface SpacesPage {
  spaces: SpaceResource[];
  next: string | null;
}
export interface JobsPage {
  jobs: JobResource[];
  next: string | null;
}

const spacesAnswer = z.object({
  spaces: z.array(spaceResource),
  next_cursor: z.string().nullable(),
});
const jobsAnswer = z.object({ jobs: z.array(jobResource), next_cursor: z.string().nullable() });

export async function listSpaces(edge: Edge, options: PageOptions): Promise<SpacesPage> {
  const { cursor, limit, ...send } = options;
  const call = { ...send, path: "/api/spaces", query: { cursor, limit } };
  const { spaces, next_cursor: next } = await edge.http.call(call, spacesAnswer);
  return { spaces, next };
}

/** @param path that of the space's jobs */
export async function listJobs(edge: Edge, path: string, options: JobsOptions): Promise<JobsPage> {
  const { cursor, limit, status, ...send } = options;
  const call = { ...send, path, query: { cursor, limit, status } };
  const { jobs, next_cursor: next } = await edge.http.call(call, jobsAnswer);
  return { jobs, next };
}
