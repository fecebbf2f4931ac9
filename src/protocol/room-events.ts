import { z } from "zod";
import { byteLength, type JsonObject } from "./codec.ts";
import { PLAIN_MESSAGES } from "./error-messages.ts";
import { rounded } from "./exact-json.ts";
import { LIMITS } from "./limits.ts";
import { jsonObject, list, POSITION, text, timestamp } from "./values.ts";

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

/** The fields that the data of a known event must have; it may have more. */
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
/** The data of a known event as a publisher may pass it. */
export type EventDataInput<T extends KnownEventType> = z.input<(typeof EVENT_DATA)[T]>;

/** Types with these prefixes are reserved for the edge's own frames: nobody may publish them. */
const RESERVED = ["connection.", "presence."];

/** `<name>.<name>`, lower case. */
export const eventType = z
  .string()
  .max(120)
  .regex(
    /^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+$/,
    "must be <name>.<name>, such as project.updated",
  )
  .refine(
    (type) => !RESERVED.some((reserved) => type.startsWith(reserved)),
    "is reserved for the edge",
  );

const TOO_LARGE = `may have ${LIMITS.eventBytes} bytes at most`;

/** Measures the JSON as the edge stores it, without the spaces between fields. */
function isTooLarge(data: JsonObject): boolean {
  const text = JSON.stringify(data);
  // A UTF-16 unit takes three bytes at most, so a short text needs no exact count.
  return text.length > LIMITS.eventBytes / 3 && byteLength(text) > LIMITS.eventBytes;
}

/** What is wrong with the data of a known event. A number that keeps every digit counts as a number. */
function issuesOf(type: KnownEventType, data: JsonObject) {
  const schema = EVENT_DATA[type];
  if (schema.safeParse(data).success) return [];
  return schema.safeParse(rounded(data), PLAIN_MESSAGES).error?.issues ?? [];
}

/** An event as its publisher sends it. If it is published again with the same `id`, it is stored only once. */
export const publishedEvent = z
  .strictObject({
    type: eventType,
    data: jsonObject.default({}),
    id: z.string().min(1).max(200).optional(),
  })
  .superRefine(({ type, data }, context) => {
    if (isTooLarge(data)) context.addIssue({ code: "custom", path: ["data"], message: TOO_LARGE });
    // `hasOwn`, because a type may be a name that every object has, such as `constructor`.
    const isKnown = Object.hasOwn(EVENT_DATA, type);
    const issues = isKnown ? issuesOf(type as KnownEventType, data) : [];
    for (const issue of issues) {
      context.addIssue({ code: "custom", path: ["data", ...issue.path], message: issue.message });
    }
  });
export type EventToPublish = z.infer<typeof publishedEvent>;
export type PublishedEventInput = z.input<typeof publishedEvent>;

/** The body of `POST /api/rooms/:room/events`: one event, or several that are stored together. */
export const publishBody = z.union([
  publishedEvent,
  z.strictObject({ events: list(publishedEvent, { min: 1, max: 1_000 }) }),
]);

/** An event as it is sent to subscribers. */
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

/** The answer to a publish: the event, or only the position of the earlier event with the same `id`. */
export const publishedResource = z.discriminatedUnion("repeated", [
  roomEventFrame.extend({ repeated: z.literal(false) }),
  roomEventFrame.omit({ type: true, data: true }).extend({ repeated: z.literal(true) }),
]);
export type PublishedResource = z.infer<typeof publishedResource>;

const position = z
  .string()
  .regex(POSITION, "must be a position, <epoch>:<offset>, such as `next` of another page");

/** The parameters of `GET /api/rooms/:room/history`. */
export const historyQuery = z.strictObject({
  since: position.optional(),
  before: position.optional(),
  order: z.enum(["asc", "desc"]).optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
  /** JSON of an `eventFilter`. */
  filter: z.string().optional(),
  /** The `types` of a filter, separated by commas. */
  types: z.string().optional(),
  /** The caller's token, which may also be in `Authorization`. */
  token: z.string().optional(),
});

/** A room in the list of those that have events. */
export interface ListedRoom {
  room: string;
  first_event_at: string;
}

/** `prefix`: how the names begin, such as `project:`. `cursor`: the last name of the previous page. */
export const listRoomsQuery = z.strictObject({
  prefix: z.string().max(170).default(""),
  cursor: z.string().max(170).default(""),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});
