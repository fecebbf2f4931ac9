import type { Report, SourceKind } from "../protocol/monitor.ts";

/** The report that a room or gateway sends to the monitor: it has sockets and no jobs. */
export function socketReport(kind: SourceKind, connections: number): Report {
  const jobs = { active: 0, completed: 0, failed: 0, canceled: 0 };
  return { kind, connections, jobs_with_connections: 0, jobs, recent: [] };
}
