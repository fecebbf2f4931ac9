import { jobLogContract } from "./job-log-contract.ts";
import { jobStoreContract } from "./job-store-contract.ts";
import { queueContract } from "./queue-contract.ts";
import { schemaContract } from "./schema-contract.ts";
import { spaceStoreContract } from "./space-store-contract.ts";
import type { WithSql } from "./with-sql.ts";

/** What the stores promise on every SQLite they run on. */
export function storageContract(withSql: WithSql): void {
  schemaContract(withSql);
  spaceStoreContract(withSql);
  jobStoreContract(withSql);
  queueContract(withSql);
  jobLogContract(withSql);
}
