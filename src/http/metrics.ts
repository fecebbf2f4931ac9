import Gauge from "prom-client/lib/gauge.js";
import Registry from "prom-client/lib/registry.js";
import type { Totals } from "../monitor/totals.ts";
import { SOURCE_KINDS } from "../protocol/monitor.ts";

/** The edge's numbers in the text format of Prometheus. */
export async function formatMetrics(
  totals: Totals,
): Promise<{ text: string; contentType: string }> {
  // A registry of its own for each answer: a shared one would keep the numbers of earlier answers.
  const registers = [new Registry()];
  const [registry] = registers as [Registry];
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  const labelled = <T extends string>(name: string, help: string, label: T) =>
    new Gauge({ name, help, labelNames: [label], registers });

  const { active, ...ended } = totals.jobs;
  const jobs = labelled("dialout_jobs", "Jobs that have ended, by final status.", "status");
  for (const [status, count] of Object.entries(ended)) jobs.set({ status }, count);
  gauge("dialout_jobs_active", "Jobs that are waiting or running.").set(active);

  const connections = labelled(
    "dialout_websocket_connections",
    "Open sockets, by the kind of object that holds them.",
    "kind",
  );
  const sources = labelled(
    "dialout_sources",
    "Objects that have reported to the monitor, by kind.",
    "kind",
  );
  for (const kind of SOURCE_KINDS) {
    connections.set({ kind }, totals.connections[kind]);
    sources.set({ kind }, totals.sources[kind]);
  }
  gauge(
    "dialout_jobs_with_connections",
    "Jobs that have not ended and are followed over a socket.",
  ).set(totals.jobsWithConnections);
  return { text: await registry.metrics(), contentType: registry.contentType };
}
