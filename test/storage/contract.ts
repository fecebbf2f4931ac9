import { backendJobContract } from "./backend-job-contract.ts";
import { holderStoreContract } from "./holder-store-contract.ts";
import { jobLogContract } from "./job-log-contract.ts";
import { jobStoreContract } from "./job-store-contract.ts";
import { logPageContract } from "./log-page-contract.ts";
import { queueContract } from "./queue-contract.ts";
import { ranksContract } from "./ranks-contract.ts";
import { roomStoreContract } from "./room-store-contract.ts";
import { schemaContract } from "./schema-contract.ts";
import { segmentLogContract } from "./segment-log-contract.ts";
import { sourceStoreContract } from "./source-store-contract.ts";
import { spaceStoreContract } from "./space-store-contract.ts";
import { uploadStoreContract } from "./upload-store-contract.ts";
import { versionContract } from "./version-contract.ts";
import { webhookStoreContract } from "./webhook-store-contract.ts";
import type { WithSql } from "./with-sql.ts";

/** What the stores promise on every SQLite on which they run. */
export function storageContract(withSql: WithSql): void {
  schemaContract(withSql);
  versionContract(withSql);
  spaceStoreContract(withSql);
  jobStoreContract(withSql);
  queueContract(withSql);
  ranksContract(withSql);
  jobLogContract(withSql);
  backendJobContract(withSql);
  roomStoreContract(withSql);
  sourceStoreContract(withSql);
  holderStoreContract(withSql);
  uploadStoreContract(withSql);
  webhookStoreContract(withSql);
  segmentLogContract(withSql);
  logPageContract(withSql);
}
