/** The worker library for pages: a tab serves a space. */
export type { Json, JsonObject } from "../../src/protocol/codec.ts";
export { type AbortCause, JobAborted, JobFailure } from "../failure.ts";
export type { FileOptions, OutputFile } from "../file-upload.ts";
export { InvalidOptions } from "../invalid-options.ts";
export { jsonText } from "../json-text.ts";
export type { Log } from "../log.ts";
export { type RefusalCode, WorkerRefused } from "../refusal.ts";
export { describeStatistics, type Statistics } from "../statistics.ts";
export type { WorkerState } from "../worker-state.ts";
export type { PageFile as JobFile } from "./page-file.ts";
export type { PageJob as Job, PageJobHandler as JobHandler } from "./page-job.ts";
export { type PageWorkerOptions as RemoteWorkerOptions, RemoteWorker } from "./remote-worker.ts";
export { tabWorkerId } from "./worker-id.ts";
