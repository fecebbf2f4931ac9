import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import { type Report, sourceReport } from "../protocol/monitor.ts";
import { objectSql } from "../storage/object-sql.ts";
import { isMigrated } from "../storage/schema.ts";
import { SourceStore } from "../storage/source-store.ts";
import { askSource } from "./ask-source.ts";
import { LivenessCheck, SILENT_MS, within } from "./liveness-check.ts";
import { StatsAggregate } from "./stats-aggregate.ts";
import { isLive, nothing, statusFrame, type Totals } from "./totals.ts";
import { Watchers } from "./watchers.ts";

/** Between two alarms, milliseconds. */
const REST_MS = 5_000;

/** How long an answer waits for sources that are asked, milliseconds. */
const LOOK_MS = 2_000;

/**
 * Adds up what every other object reports of itself. Nothing waits for it: without it jobs run as
 * before, and it learns of them later.
 */
export class MonitorObject extends DurableObject<Env> {
  /** `null` before anything was reported. */
  private stats: StatsAggregate | null = null;
  private readonly livenessCheck: LivenessCheck;
  private readonly watchers: Watchers;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    if (isMigrated(objectSql(ctx.storage))) this.stats = this.open();
    this.watchers = new Watchers(ctx, () =>
      statusFrame(this.totals, this.stats?.recent ?? [], new Date().toISOString()),
    );
    this.livenessCheck = new LivenessCheck({
      live: () => this.stats?.liveSources() ?? [],
      ended: (heardBy, limit) => this.stats?.endedSources(heardBy, limit) ?? [],
      ask: (source) => askSource(env, source),
      onAnswer: (source, report) => this.take(source, report),
      onNoAnswer: (source) => {
        this.look();
        if (this.stats?.silence(source, Date.now())) this.watchers.markChanged();
      },
    });
  }

  /** How things stand with one object; what it said before counts no more. */
  async report(source: string, report: Report): Promise<void> {
    const parsed = sourceReport.parse(report);
    this.livenessCheck.onReport(source, isLive(parsed), Date.now());
    this.take(source, parsed);
  }

  /** The object is no more. */
  async forget(source: string): Promise<void> {
    this.livenessCheck.onReport(source, false, Date.now());
    this.take(source, null);
  }

  /** Everything added up, once those that fell silent were asked. */
  async overview(): Promise<Totals> {
    const round = this.livenessCheck.run(Date.now());
    this.ctx.waitUntil(round);
    await within(LOOK_MS, round);
    return this.totals;
  }

  /** A socket of somebody who watches; the Worker has checked who it is. */
  override async fetch(request: Request): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    this.watchers.accept(server);
    this.ctx.waitUntil(this.livenessCheck.run(Date.now()));
    if ((await this.ctx.storage.getAlarm()) === null) await this.watchOn();
    const headers = protocolHeader(request);
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    this.watchers.receive(socket, message, new Date().toISOString());
  }

  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    closeQuietly(socket, code, reason);
  }

  /** Rings only while somebody watches. */
  override async alarm(): Promise<void> {
    if (!this.watchers.areThere()) return;
    await this.livenessCheck.run(Date.now());
    await this.watchOn();
  }

  private get totals(): Totals {
    return this.stats?.totals ?? nothing();
  }

  private take(source: string, report: Report | null): void {
    if (report !== null) this.stats ??= this.open();
    this.look();
    const isNew =
      report === null ? this.stats?.forget(source) : this.stats?.take(source, report, Date.now());
    if (isNew) this.watchers.markChanged();
  }

  /** Who watches is told of what differs from before; for nobody, nothing is added up. */
  private look(): void {
    if (this.watchers.areThere()) this.stats?.look();
  }

  private open(): StatsAggregate {
    const store = new SourceStore(objectSql(this.ctx.storage));
    store.migrate();
    return new StatsAggregate(store);
  }

  /** Wakes when the next source is to be asked, but not all the time. */
  private watchOn(): Promise<void> {
    const now = Date.now();
    const due = this.livenessCheck.dueAt() ?? now + SILENT_MS;
    return this.ctx.storage.setAlarm(Math.max(due, now + REST_MS));
  }
}
