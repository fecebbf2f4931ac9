import type { JobStore } from "../storage/job-store.ts";
import type { SpaceRecord, SpaceStore } from "../storage/space-store.ts";
import type { WebhookStore } from "../storage/webhook-store.ts";
import type { Connections } from "./connections.ts";
import type { UnitOfWork } from "./jobs/unit-of-work.ts";
import type { SendBuffer } from "./send-buffer.ts";

/** What the parts of a space object share while it is awake. */
export interface SpaceCore {
  record: SpaceRecord;
  readonly spaces: SpaceStore;
  readonly store: JobStore;
  readonly webhooks: WebhookStore;
  readonly jobs: UnitOfWork;
  readonly connections: Connections;
  readonly sendBuffer: SendBuffer;
  /** Signs the address a worker fetches a file from. */
  readonly fileUrl: (origin: string, key: string, expiresAt: number) => string;
}
