import fc from "fast-check";
import { RECENT_JOBS, type Report, SOURCE_KINDS } from "../../src/protocol/monitor.ts";
import { JOB_STATUSES } from "../../src/protocol/resources.ts";

const counts = fc.nat(1_000);

/** Any report that an object may send. */
export const reports: fc.Arbitrary<Report> = fc.record({
  kind: fc.constantFrom(...SOURCE_KINDS),
  connections: counts,
  jobs_with_connections: counts,
  jobs: fc.record({ active: counts, completed: counts, failed: counts, canceled: counts }),
  recent: fc.array(
    fc.record({
      id: fc.uuid(),
      space: fc.constantFrom(null, "demo"),
      status: fc.constantFrom(...JOB_STATUSES),
      progress: fc.nat(100),
      updated_at: fc.nat(1_000_000).map((at) => new Date(1_800_000_000_000 + at).toISOString()),
    }),
    { maxLength: RECENT_JOBS },
  ),
});
