import { applyD1Migrations, evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { SILENT_MS } from "../../src/monitor/liveness-check.ts";
import type { MonitorObject } from "../../src/monitor/monitor-object.ts";
import { MONITOR_NAME } from "../../src/monitor/reporter.ts";
import {
  type Report,
  type StatsResource,
  type SystemStatusFrame,
  statsResource,
  systemStatusFrame,
} from "../../src/protocol/monitor.ts";
import { call, expectStatus, OPERATOR, TestSocket } from "./support.ts";

/** Erases the storage of every object, so that the monitor starts without any report. */
export async function eraseEverything(): Promise<void> {
  await reset();
  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
}

export function monitor() {
  return env.MONITOR.getByName(MONITOR_NAME);
}

export async function stats(): Promise<StatsResource> {
  const path = "/api/v1/websocket/stats";
  const answer = await expectStatus(200, await call("GET", path, undefined, OPERATOR));
  return statsResource.parse(await answer.json());
}

/** A client on the socket of the monitor. */
export class Watcher {
  readonly socket: TestSocket;

  private constructor(socket: TestSocket) {
    this.socket = socket;
  }

  static async open(): Promise<Watcher> {
    return new Watcher(await TestSocket.open("/ws/monitor", OPERATOR));
  }

  /** Waits for the next status that matches `wanted`. */
  async nextStatus(wanted: (status: SystemStatusFrame) => boolean): Promise<SystemStatusFrame> {
    const frame = await this.socket.next((received) => wanted(systemStatusFrame.parse(received)));
    return systemStatusFrame.parse(frame);
  }
}

/** Makes the latest report of every object this many milliseconds older. */
export async function ageReports(ms: number): Promise<void> {
  await runInDurableObject(monitor(), (_object, { storage }) => {
    storage.sql.exec("UPDATE sources SET heard_at = heard_at - ?", ms);
  });
  // The monitor's memory still has the real times.
  await evictDurableObject(monitor());
}

export const BEYOND_SILENT_MS = SILENT_MS + 1;

type TakeReport = (source: string, report: Report | null) => void;

/** Records the reports that the monitor gets from now on, and counts the rows that it writes for them. */
export async function recordReports() {
  const reports: { source: string; report: Report | null }[] = [];
  const written = { rows: 0 };
  await runInDurableObject(monitor(), (object: MonitorObject, { storage }) => {
    const monitored = object as unknown as { take: TakeReport };
    const take = monitored.take.bind(object);
    monitored.take = (source, report) => {
      reports.push({ source, report });
      take(source, report);
    };
    const sql: SqlStorage = Object.getPrototypeOf(storage.sql);
    const { exec } = sql;
    sql.exec = function counted(this: SqlStorage, ...statement: Parameters<typeof exec>) {
      const cursor = exec.apply(this, statement);
      if (/\b(sources|past)\b/.test(statement[0])) written.rows += cursor.rowsWritten;
      return cursor;
    } as typeof exec;
  });
  return { reports, written };
}
