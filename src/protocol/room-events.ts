import { z } from "zod";
import type { JsonObject } from "./codec.ts";
import { PLAINLY } from "./plain-words.ts";
import { jsonObject, text, timestamp } from "./values.ts";

const id = z.union([z.string().min(1).max(200), z.number()]).transform(String);
const percent = z.number().min(0).max(100);
const message = text(10_000);
const status = z.string().min(1).max(60);

const project = z.looseObject({ project_id: id });
const agent = z.looseObject({ agent_id: id });
const workflow = z.looseObject({ workflow_id: id });
const pullRequest = z.looseObject({ pr_id: id });
const issue = z.looseObject({ issue_id: id });
const ai = z.looseObject({});

/** What the data of a known event must have; more may be with it. */
export const EVENT_DATA = {
  "project.updated": project,
  "project.deleted": project,
  "agent.status_changed": agent.extend({ status }),
  "agent.connected": agent,
  "agent.disconnected": agent.extend({ reason: message.optional() }),
  "workflow.started": workflow,
  "workflow.progress": workflow.extend({ progress: percent, message: message.optional() }),
  "workflow.completed": workflow,
  "workflow.failed": workflow.extend({ error: message }),
  "pr.created": pullRequest,
  "pr.updated": pullRequest,
  "pr.closed": pullRequest,
  "issue.created": issue,
  "issue.updated": issue,
  "issue.closed": issue,
  "ai.suggestion": ai.extend({ suggestion: z.union([message, jsonObject]) }),
  "ai.analysis_complete": ai.extend({ analysis_id: id.optional() }),
} as const;

export type KnownEventType = keyof typeof EVENT_DATA;
/** The data of a known event, as its publisher writes it. */
export type EventDataInput<T extends KnownEventType> = z.input<(typeof EVENT_DATA)[T]>;

/** Said by the edge alone: nobody may publish them. */
export const RESERVED_TYPES = ["connection.established", "connection.error"] as const;

/** `<name>.<name>`, lower case. */
export const eventType = z
  .string()
  .max(120)
  .regex(
    /^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+$/,
    "must be <name>.<name>, such as project.updated",
  )
  .refine(
    (type) => !RESERVED_TYPES.some((reserved) => reserved === type),
    "is said by the edge alone",
  );

/** What a publisher sends. Published twice with one `id`, an event is one event. */
export const publishedEvent = z
  .strictObject({
    type: eventType,
    data: jsonObject.default({}),
    id: z.string().min(1).max(200).optional(),
  })
  .superRefine(({ type, data }, context) => {
    const schema = EVENT_DATA[type as KnownEventType];
    const result = schema?.safeParse(data, PLAINLY);
    for (const issue of result?.error?.issues ?? []) {
      context.addIssue({ code: "custom", path: ["data", ...issue.path], message: issue.message });
    }
  });
export type PublishedEvent = z.infer<typeof publishedEvent>;
export type PublishedEventInput = z.input<typeof publishedEvent>;

/** `POST /api/rooms/:room/events`: one event, or several that are stored together. */
export const publishBody = z.union([
  publishedEvent,
  z.strictObject({ events: z.array(publishedEvent).min(1).max(1_000) }),
]);

/** An event as subscribers get it. */
export const roomEventFrame = z.object({
  type: z.string(),
  room: z.string(),
  id: z.string(),
  offset: z.int(),
  timestamp,
  data: jsonObject,
});
export type RoomEventFrame = {
  type: string;
  room: string;
  id: string;
  offset: number;
  timestamp: string;
  data: JsonObject;
};

export const historyQuery = z.strictObject({
  since: z.string().max(60).optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});
