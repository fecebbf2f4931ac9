import type { OutputFile } from "../queue/output-files.ts";
import type { JobStore } from "../storage/job-store.ts";
import type { SpaceRecord, SpaceStore } from "../storage/space-store.ts";
import type { WebhookStore } from "../storage/webhook-store.ts";
import type { Connections } from "./connections.ts";
import type { UnitOfWork } from "./jobs/unit-of-work.ts";
import type { SendBuffer } from "./send-buffer.ts";
import type { Leases } from "./workers/leases.ts";

/** What the parts of a space share while its object is in memory. */
export interface SpaceCore {
  record: SpaceRecord;
  readonly spaces: SpaceStore;
  readonly store: JobStore;
  readonly webhooks: WebhookStore;
  readonly jobs: UnitOfWork;
  readonly connections: Connections;
  readonly leases: Leases;
  readonly sendBuffer: SendBuffer;
  /** Makes the signed address from which a worker fetches a file; `expiresAt` in milliseconds since 1970. */
  readonly fileUrl: (origin: string, key: string, expiresAt: number) => string;
  /** Makes the signed address from which anybody may fetch an output file for some time, under the edge's origin. */
  readonly outputUrl: (file: OutputFile) => string;
  /** How many bytes the files of one attempt may have together. */
  readonly maxOutputBytes: number;
  /** Signs what lets a worker send files, as a part of their addresses. */
  readonly uploadGrant: (workerId: string) => string;
}
