import { describe, expect, it } from "vitest";
import type { Env } from "../../src/env.ts";
import { askSource } from "../../src/monitor/ask-source.ts";
import { socketReport } from "../../src/monitor/socket-report.ts";
import { StatsAggregate } from "../../src/monitor/stats-aggregate.ts";
import { type Report, sourceReport } from "../../src/protocol/monitor.ts";
import { SourceStore } from "../../src/storage/source-store.ts";
import { nodeSql } from "../storage/node-sql.ts";

const NOW = 1_800_000_000_000;

function reportOf(connections: number, completed = 0): Report {
  const jobs = { active: 0, completed, failed: 0, canceled: 0 };
  return { kind: "space", connections, jobs_with_connections: 0, jobs, recent: [] };
}

function statsOf() {
  const store = new SourceStore(nodeSql());
  store.migrate();
  return new StatsAggregate(store);
}

describe("asking a source for its report", () => {
  function envWith(report: unknown) {
    const asked: string[] = [];
    const objects = (kind: string) => ({
      getByName: (name: string) => ({
        getReport: async () => {
          asked.push(`${kind} ${name}`);
          return report;
        },
      }),
    });
    const env = {
      SPACE: objects("space"),
      JOB: objects("job"),
      ROOM: objects("room"),
      GATEWAY: objects("gateway"),
    };
    return { env: env as unknown as Env, asked };
  }

  it.each([
    ["space:demo", "space demo"],
    ["job:a", "job a"],
    ["room:project:42", "room project:42"],
    ["gateway:EU-1", "gateway EU-1"],
  ])("%s asks the object %s (M4)", async (source, object) => {
    const { env, asked } = envWith(reportOf(3));
    expect(await askSource(env, source)).toEqual(reportOf(3));
    expect(asked).toEqual([object]);
  });

  it("is answered `null` by an object that no longer exists, and takes no other nonsense", async () => {
    expect(await askSource(envWith(null).env, "space:demo")).toBeNull();
    await expect(askSource(envWith({ kind: "space" }).env, "space:demo")).rejects.toThrow();
    const { env, asked } = envWith(reportOf(1));
    await expect(askSource(env, "monitor:x")).rejects.toThrow();
    expect(asked).toEqual([]);
  });
});

describe("the report of a room or a gateway", () => {
  it("has its sockets and no jobs (M3)", () => {
    const report = socketReport("gateway", 7);
    expect(sourceReport.parse(report)).toEqual({
      kind: "gateway",
      connections: 7,
      jobs_with_connections: 0,
      jobs: { active: 0, completed: 0, failed: 0, canceled: 0 },
      recent: [],
    });
  });
});

describe("the sources that are asked when they fall silent", () => {
  it("are those with sockets or active jobs by their latest report, each with its time (M4)", () => {
    const stats = statsOf();
    stats.take("space:a", reportOf(1), NOW);
    stats.take("space:b", reportOf(1), NOW);
    expect(stats.liveSources()).toEqual([
      { source: "space:a", heardAt: NOW },
      { source: "space:b", heardAt: NOW },
    ]);
    stats.take("space:a", reportOf(2), NOW + 5);
    stats.take("space:b", reportOf(0, 1), NOW + 5);
    expect(stats.liveSources()).toEqual([{ source: "space:a", heardAt: NOW + 5 }]);
    stats.forget("space:a");
    expect(stats.liveSources()).toEqual([]);
    stats.take("space:b", reportOf(1), NOW + 9);
    expect(stats.liveSources()).toEqual([{ source: "space:b", heardAt: NOW + 9 }]);
  });

  it("don't include one that is forgotten twice, or was never known", () => {
    const stats = statsOf();
    expect([stats.forget("space:a"), stats.silence("space:a", NOW)]).toEqual([false, false]);
    stats.take("space:a", reportOf(1), NOW);
    stats.look();
    expect([stats.forget("space:a"), stats.forget("space:a")]).toEqual([true, false]);
    expect(stats.totals.sources.space).toBe(0);
  });
});
