import type { Env } from "../env.ts";
import { type Report, type SourceKind, sourceKind, sourceReport } from "../protocol/monitor.ts";

/** Asks the object that a source names for its report; `null` if the object no longer exists. */
export async function askSource(env: Env, source: string): Promise<Report | null> {
  const colon = source.indexOf(":");
  const kind = sourceKind.parse(source.slice(0, colon));
  return sourceReport.nullable().parse(await getReport(env, kind, source.slice(colon + 1)));
}

function getReport(env: Env, kind: SourceKind, name: string): Promise<unknown> {
  switch (kind) {
    case "space":
      return env.SPACE.getByName(name).getReport();
    case "job":
      return env.JOB.getByName(name).getReport();
    case "room":
      return env.ROOM.getByName(name).getReport();
    case "gateway":
      return env.GATEWAY.getByName(name).getReport();
  }
}
