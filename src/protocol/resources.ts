import { z } from "zod";
import { FAILURE_CODES } from "./codes.ts";
import { LIMITS } from "./limits.ts";
import { memberAccess } from "./members.ts";
import { outputFile } from "./output-files.ts";
import { json, jsonObject, list, spaceName, timestamp, userId } from "./values.ts";

/** A limit in seconds; `null` is no limit. */
const optionalSeconds = z.number().positive().max(604_800).nullable();
const seconds = (max: number) => z.number().positive().max(max);

export const PRIORITY = { min: -100, max: 100 } as const;
const priority = z.int().min(PRIORITY.min).max(PRIORITY.max);

/** The settings of a space. Names with `_s` are in seconds. */
export const spaceSettings = z.strictObject({
  title: z.string().max(120),
  description: z.string().max(4_000),
  /** `private`: its owner, its members and admins alone may see it and submit. `shared` is another word for that. */
  visibility: z.enum(["public", "private", "shared"]),
  /** Whether whoever is not known may submit to it, if it is public. */
  anonymous_use: z.boolean(),
  /** How many jobs an address of those may submit each minute; `null`: as many as the edge lets it. */
  anonymous_jobs_per_minute: z.int().min(1).max(1_000_000).nullable(),
  enable_prompt: z.boolean(),
  enable_audio: z.boolean(),
  enable_video: z.boolean(),
  enable_file_upload: z.boolean(),
  /** How many workers may serve the space at the same time. */
  max_workers: z.int().min(1).max(64),
  /** The most jobs that a worker may run at once; `null`: as many as it offers. */
  concurrency: z.int().min(1).max(LIMITS.concurrency).nullable(),
  /** What happens to a submit while no worker is connected. */
  offline: z.enum(["refuse", "queue"]),
  max_queue: z.int().min(1).max(1_000_000),
  /** How many jobs of one user, or of one address of visitors, may wait; `null`: no bound of its own. */
  max_queued_per_user: z.int().min(1).max(1_000_000).nullable(),
  /** How many of them run at once; further ones wait, and let those of others pass. */
  max_running_per_user: z.int().min(1).max(64_000).nullable(),
  /** The highest priority that visitors, and users, may give a job. Admins may give any. */
  max_priority_anonymous: priority,
  max_priority_user: priority,
  max_attempts: z.int().min(1).max(100),
  /** How long the attempts of a dropped worker wait for it to come back. */
  reconnect_grace_s: z.number().min(0).max(3_600),
  /** Longest time in the queue. */
  queue_timeout_s: optionalSeconds,
  /** Longest time from dispatch to the first progress or output. */
  first_output_timeout_s: optionalSeconds,
  /** Longest silence between two frames about the job. */
  stall_timeout_s: optionalSeconds,
  /** Longest run of one attempt. */
  job_timeout_s: seconds(604_800),
  /** How long finished jobs are kept. */
  result_ttl_s: seconds(31_536_000),
  /** How long a result is reused for later submits with the same input; 0: it never is. */
  cache_ttl_s: z.number().min(0).max(31_536_000),
});
export type SpaceSettings = z.infer<typeof spaceSettings>;

/** The settings of a new space, unless its creator chooses others. */
export const DEFAULT_SETTINGS: SpaceSettings = {
  title: "",
  description: "",
  visibility: "public",
  anonymous_use: true,
  anonymous_jobs_per_minute: null,
  enable_prompt: true,
  enable_audio: false,
  enable_video: false,
  enable_file_upload: false,
  max_workers: 1,
  concurrency: null,
  offline: "refuse",
  max_queue: 1_000,
  max_queued_per_user: null,
  max_running_per_user: null,
  max_priority_anonymous: PRIORITY.max,
  max_priority_user: PRIORITY.max,
  max_attempts: 3,
  reconnect_grace_s: 15,
  queue_timeout_s: 3_600,
  first_output_timeout_s: null,
  stall_timeout_s: null,
  job_timeout_s: 120,
  result_ttl_s: 86_400,
  cache_ttl_s: 0,
};

export const createSpaceBody = spaceSettings.partial().extend({ name: spaceName });

/** Contains only the settings that change. `owner`: who owns the space from now on; `null`: the operator. */
export const patchSpaceBody = spaceSettings
  .partial()
  .extend({ owner: userId.nullable().optional() })
  .refine((patch) => Object.keys(patch).length > 0, "names nothing to change");
export type SpacePatch = z.infer<typeof patchSpaceBody>;
export type SettingsPatch = Omit<SpacePatch, "owner">;

export const WORKER_STATES = ["connected", "disconnected", "reconnecting", "draining"] as const;

/** The current status of a space, for anyone who may see the space. */
export const spaceStatus = z.object({
  worker: z.enum(WORKER_STATES),
  worker_name: z.string().optional(),
  /** For how many seconds nothing came from any worker that takes jobs, if their pings are overdue. */
  worker_silent_s: z.int().optional(),
  queue_size: z.int(),
  processing: z.int(),
  /** Seconds until a job that is submitted now would start; `null` if that can't be estimated. */
  estimated_wait_s: z.number().nullable(),
  /** The reason, in words, why jobs wait, or why a job that is submitted now would wait. */
  waiting_reason: z.string().optional(),
});
export type SpaceStatus = z.infer<typeof spaceStatus>;

export const spaceResource = z.object({
  name: spaceName,
  ...spaceSettings.shape,
  /** The id of the owner's account; `null`: the operator. */
  owner: userId.nullable(),
  /** What the one who asks may do: `null`, only see it. */
  access: memberAccess.nullable(),
  created_at: timestamp,
  updated_at: timestamp,
  status: spaceStatus,
  urls: z.object({ self: z.string(), page: z.string(), jobs: z.string(), ws: z.string() }),
});
export type SpaceResource = z.infer<typeof spaceResource>;

export const createTokenBody = z.strictObject({ name: z.string().trim().min(1).max(120) });

export const tokenResource = z.object({
  id: z.string(),
  space: spaceName,
  name: z.string(),
  created_at: timestamp,
  last_used_at: timestamp.nullable(),
  /** The secret itself; only the answer to the request that made the token contains it. */
  token: z.string().optional(),
});
export type TokenResource = z.infer<typeof tokenResource>;

/** Something that a worker can do and a job may require: a word that workers and submitters agree on. */
export const capability = z.string().min(1).max(60);

export const WEBHOOK_EVENTS = ["start", "output", "logs", "completed"] as const;
export const webhookEvent = z.enum(WEBHOOK_EVENTS);
export type WebhookEvent = z.infer<typeof webhookEvent>;

/** The address to which events of a job are sent, and the events: all of them if none are listed. */
const webhook = z
  .union([
    z.url().max(2_000),
    z.strictObject({
      url: z.url().max(2_000),
      events: list(webhookEvent, { min: 1, max: 20 }).optional(),
    }),
  ])
  .transform((given) => {
    const { url, events = WEBHOOK_EVENTS } = typeof given === "string" ? { url: given } : given;
    return { url, events: [...new Set(events)] };
  });

/** Printable ASCII only, because it may be sent as a header. */
export const idempotencyKey = z
  .string()
  .regex(/^[\x20-\x7e]{1,255}$/, "must be 1 to 255 printable ASCII characters");

/** The options of a submit besides the input. Its limits can only be lower than those of the space. */
export const jobOptions = {
  priority: priority.optional(),
  queue_timeout_s: seconds(604_800).optional(),
  first_output_timeout_s: seconds(604_800).optional(),
  stall_timeout_s: seconds(604_800).optional(),
  job_timeout_s: seconds(604_800).optional(),
  /** The job is canceled when its submitter's socket or stream closes. */
  cancel_on_disconnect: z.boolean().optional(),
  /** Only a worker that registered with all of these gets the job. */
  requires: list(capability, { max: LIMITS.capabilities }).optional(),
  /** Two submits with the same key and body make only one job. */
  idempotency_key: idempotencyKey.optional(),
  webhook: webhook.optional(),
  /** Whose job it is, if not the submitter's: only those who manage the space may say so. */
  user: userId.optional(),
};

/** The parameters of the model. `prompt` is text and needs `enable_prompt`; the model defines the others. */
export const jobInput = jsonObject.refine(
  (input) => input.prompt === undefined || typeof input.prompt === "string",
  { message: "must be text", path: ["prompt"] },
);

export const submitJobBody = z.strictObject({ input: jobInput, ...jobOptions });
export type SubmitJobBody = z.infer<typeof submitJobBody>;
/** The options of a submit, without the input. */
export type JobOptions = Omit<SubmitJobBody, "input">;

export const submitBatchBody = z.strictObject({
  /** Not checked here: each job is checked on its own, so that an error in one doesn't affect the others. */
  jobs: z.array(json).min(1).max(LIMITS.batchJobs),
});

export const JOB_STATUSES = ["queued", "processing", "completed", "failed", "canceled"] as const;
export const jobStatus = z.enum(JOB_STATUSES);
export type JobStatus = z.infer<typeof jobStatus>;

export const fileInfo = z.object({
  /** The form field it came in: `audio`, `video` or any other. */
  field: z.string(),
  name: z.string(),
  content_type: z.string(),
  size: z.int(),
});

/** The reason why a job ended without a result: it failed or was canceled. */
export const jobError = z.object({
  code: z.enum([...FAILURE_CODES, "canceled"]),
  message: z.string(),
});
export type JobError = z.infer<typeof jobError>;

export const jobResource = z.object({
  id: z.string(),
  space: spaceName,
  status: jobStatus,
  /** Percent, 0 to 100. */
  progress: z.number(),
  message: z.string().nullable(),
  /** Seconds, as the worker guesses. */
  estimated_remaining: z.number().nullable(),
  /** The job's place in the queue, 1 for the next job; `null` if the job isn't queued. */
  queue_position: z.int().nullable(),
  /** How often the job was dispatched so far. */
  attempt: z.int(),
  input: jsonObject,
  files: z.array(fileInfo),
  /** The streamed output: one text if every piece is text, otherwise the list of pieces; `null` if none. */
  output: json,
  /** The beginning of `output` is missing: it was dropped to keep the job's log small. */
  output_truncated: z.boolean(),
  /** The files that are output: of the latest attempt, and none of those that were only previews. */
  outputs: z.array(outputFile).default([]),
  /** The result that the worker sent at the end; `null` until then. */
  result: json,
  error: jobError.nullable(),
  user: z.string().nullable(),
  priority: z.int(),
  created_at: timestamp,
  updated_at: timestamp,
  started_at: timestamp.nullable(),
  completed_at: timestamp.nullable(),
  worker: z.object({ id: z.string(), name: z.string().nullable() }).nullable(),
  /** As the worker reported them. */
  metrics: jsonObject.nullable(),
  /** The result was taken from an earlier job with the same input. */
  cached: z.boolean(),
  urls: z.object({ self: z.string(), events: z.string(), ws: z.string(), cancel: z.string() }),
});
export type JobResource = z.infer<typeof jobResource>;

/** A job in an answer that has no room for all of it: the rest is at `urls.self`. */
export type JobPlace = Pick<JobResource, "id" | "space" | "status" | "urls"> & { partial: true };

/** One message to a webhook, sent or still to be sent. */
export const deliveryResource = z.object({
  id: z.string(),
  event: webhookEvent,
  url: z.string(),
  status: z.enum(["pending", "delivered", "failed"]),
  attempts: z.int(),
  next_attempt_at: timestamp.nullable(),
  /** The HTTP status of the last answer; `null` if there was none. */
  response_status: z.int().nullable(),
  error: z.string().nullable(),
  created_at: timestamp,
  updated_at: timestamp,
});
export type DeliveryResource = z.infer<typeof deliveryResource>;

export const listJobsQuery = z.strictObject({
  status: jobStatus.optional(),
  /** Whose jobs; those who don't manage the space have their own alone. */
  user: userId.optional(),
  cursor: z.string().max(200).optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
});

/** The body of a refusal, as RFC 9457 defines it. */
export const problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});
export type Problem = z.infer<typeof problem>;
