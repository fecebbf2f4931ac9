import Gauge from "prom-client/lib/gauge.js";
import Registry from "prom-client/lib/registry.js";
import type { Totals } from "../monitor/totals.ts";
import { SOURCE_KINDS } from "../protocol/monitor.ts";

/** The numbers of the edge as Prometheus reads them. */
export async function metricsOf(totals: Totals): Promise<{ text: string; contentType: string }> {
  // Of this answer alone: numbers of another must not stay in it.
  const registers = [new Registry()];
  const [registry] = registers as [Registry];
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  const labelled = <T extends string>(name: string, help: string, label: T) =>
    new Gauge({ name, help, labelNames: [label], registers });

  const { active, ...ended } = totals.jobs;
  const jobs = labelled("dialout_jobs", "Jobs that ended, by how.", "status");
  for (const [status, count] of Object.entries(ended)) jobs.set({ status }, count);
  gauge("dialout_jobs_active", "Jobs that wait or run.").set(active);

  const connections = labelled(
    "dialout_websocket_connections",
    "Open sockets, by the kind of object that holds them.",
    "kind",
  );
  const sources = labelled("dialout_sources", "Objects that reported, by kind.", "kind");
  for (const kind of SOURCE_KINDS) {
    connections.set({ kind }, totals.connections[kind]);
    sources.set({ kind }, totals.sources[kind]);
  }
  gauge("dialout_jobs_with_connections", "Jobs that have not ended and are followed.").set(
    totals.jobsWithConnections,
  );
  return { text: await registry.metrics(), contentType: registry.contentType };
}
