export type { BackendJobResource, ReportReceipt } from "../protocol/backend-jobs.ts";
export type { Json, JsonObject } from "../protocol/codec.ts";
export type { OutputFile } from "../protocol/output-files.ts";
export type { JobResource, SpaceResource, SpaceStatus } from "../protocol/resources.ts";
export type { KnownEventType, PublishedEventInput } from "../protocol/room-events.ts";
export type { EventFilter } from "../protocol/room-frames.ts";
export type { ParseJson } from "./answer.ts";
export type { Connection, LinkState } from "./connection.ts";
export { type ClientOptions, DialoutClient } from "./dialout-client.ts";
export type { WebSocketClass } from "./edge.ts";
export { type ClientErrorCode, DialoutError, JobFailed } from "./errors.ts";
export { EventStream, MOST_UNREAD } from "./event-stream.ts";
export type { UploadedFile, UploadOptions, UploadProgress } from "./file-upload.ts";
export type { Fetch } from "./http.ts";
export type {
  Gap,
  JobEvent,
  JobFile,
  JobGap,
  JobOutput,
  JobProgress,
  JobRestart,
} from "./job-channel.ts";
export type {
  FollowOptions,
  JobHandle,
  JobHandlers,
  JobOptions,
  OutputOptions,
} from "./job-handle.ts";
export type {
  CompleteReport,
  CreateJobOptions,
  JobReporter,
  ProgressReport,
} from "./job-reporter.ts";
export type { AnyJob } from "./job-resource.ts";
export type { JobsOptions, JobsPage, PageOptions, SpacesPage } from "./listing.ts";
export { type HistoryPage, isEvent, type RoomEvent, type RoomEventOf } from "./room-events.ts";
export type {
  PresenceHandlers,
  PublishedEvent,
  RoomHandle,
  RoomHandlers,
  RoomPresence,
  SubscribeOptions,
} from "./room-handle.ts";
export type { HistoryOptions, HistoryRange } from "./room-history.ts";
export type { Presence } from "./room-subscriber.ts";
export type { RoomUser } from "./room-users.ts";
export type { Sending, SendOptions } from "./sending.ts";
export type {
  JobToSubmit,
  SpaceHandle,
  SpaceHandlers,
  StatusOptions,
  Submitted,
} from "./space-handle.ts";
export type { SubmitFiles, SubmitOptions, SubmitSettings } from "./submit-form.ts";
export type { LinkHandlers, Subscription } from "./subscription.ts";
export type { Token } from "./token-source.ts";
