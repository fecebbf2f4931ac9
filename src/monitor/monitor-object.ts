import { DurableObject } from "cloudflare:workers";
import { credentialOf } from "../auth/credential.ts";
import type { Env } from "../env.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { type Credentials, credentialsOf } from "../objects/credentials.ts";
import { answerPings } from "../objects/pings.ts";
import { readSocketRequest } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import { type Report, sourceReport } from "../protocol/monitor.ts";
import { objectSql } from "../storage/object-sql.ts";
import { isMigrated } from "../storage/schema.ts";
import { SourceStore } from "../storage/source-store.ts";
import { askSource } from "./ask-source.ts";
import { LivenessCheck, SILENT_MS, within } from "./liveness-check.ts";
import { StatsAggregate } from "./stats-aggregate.ts";
import { isLive, noTotals, statusFrame, type Totals } from "./totals.ts";
import { Watchers } from "./watchers.ts";

/** Time between two liveness checks while somebody watches, milliseconds at least. */
const REST_MS = 5_000;

/** How long a call for the totals waits for sources that are being asked, milliseconds. */
const OVERVIEW_WAIT_MS = 2_000;

/**
 * Adds up what every other object reports about itself (decision 0024). No other object waits for it: jobs
 * run on if it is down, and it gets the numbers with the next reports.
 */
export class MonitorObject extends DurableObject<Env> {
  /** `null` until the first report. */
  private stats: StatsAggregate | null = null;
  private readonly livenessCheck: LivenessCheck;
  private readonly watchers: Watchers;
  private readonly credentials: Credentials;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.credentials = credentialsOf(env, "monitor", ctx);
    if (isMigrated(objectSql(ctx.storage))) this.stats = this.open();
    answerPings(ctx, env);
    this.watchers = new Watchers(ctx, () =>
      statusFrame(this.totals, this.stats?.recent ?? [], new Date().toISOString()),
    );
    this.livenessCheck = new LivenessCheck({
      live: () => this.stats?.liveSources() ?? [],
      ended: (reportedBy, limit) => this.stats?.endedSources(reportedBy, limit) ?? [],
      ask: (source) => askSource(env, source),
      onAnswer: (source, report) => this.take(source, report),
      onNoAnswer: (source) => {
        this.addUpForWatchers();
        if (this.stats?.silence(source, Date.now())) this.watchers.markChanged();
      },
    });
  }

  /** The current numbers of one object. They replace its earlier ones. */
  async report(source: string, report: Report): Promise<void> {
    const parsed = sourceReport.parse(report);
    this.livenessCheck.onReport(source, isLive(parsed), Date.now());
    this.take(source, parsed);
  }

  /** The object no longer exists. */
  async forget(source: string): Promise<void> {
    this.livenessCheck.onReport(source, false, Date.now());
    this.take(source, null);
  }

  /** The next page of the ids of jobs without a space, in order; `after` is the last one of the page before. */
  async jobIds(after: string): Promise<string[]> {
    return this.stats?.jobIds(after) ?? [];
  }

  /** The totals, once sources that stopped reporting were asked, or did not answer in time. */
  async overview(): Promise<Totals> {
    const round = this.livenessCheck.run(Date.now());
    this.ctx.waitUntil(round);
    await within(OVERVIEW_WAIT_MS, round);
    return this.totals;
  }

  /** The holder of sessions and keys calls this when some of them were taken back; see `reviewSockets`. */
  async review(holder: string, ended: string[]): Promise<string[]> {
    this.credentials.forget(holder);
    return this.watchers.review(holder, ended);
  }

  /** Opens a watcher's socket; the Worker has checked that it may watch. */
  override async fetch(request: Request): Promise<Response> {
    const { principal } = readSocketRequest(request.headers, "monitor");
    if (!principal) return new Response(null, { status: 401 });
    const refusal = await this.credentials.refusalOf(credentialOf(principal));
    if (refusal !== null) return Response.json(refusal, { status: 401 });
    const { 0: client, 1: server } = new WebSocketPair();
    this.watchers.accept(server, principal);
    this.ctx.waitUntil(this.livenessCheck.run(Date.now()));
    if ((await this.ctx.storage.getAlarm()) === null) await this.scheduleNextCheck();
    const headers = protocolHeader(request);
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    this.watchers.onMessage(socket, message, new Date().toISOString());
  }

  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    this.watchers.onClose(socket);
    closeQuietly(socket, code, reason);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    this.watchers.onClose(socket);
  }

  /** Checks the sources; it is set again only while somebody watches. */
  override async alarm(): Promise<void> {
    this.watchers.expire(Date.now());
    if (!this.watchers.hasAny()) return;
    await this.livenessCheck.run(Date.now());
    await this.scheduleNextCheck();
  }

  private get totals(): Totals {
    return this.stats?.totals ?? noTotals();
  }

  /** @param report the source's current numbers; `null`: it no longer exists */
  private take(source: string, report: Report | null): void {
    if (report !== null) this.stats ??= this.open();
    this.addUpForWatchers();
    const isNew =
      report === null ? this.stats?.forget(source) : this.stats?.take(source, report, Date.now());
    if (isNew) this.watchers.markChanged();
  }

  /**
   * Makes sure, before a change, that there are totals to compare with, so that watchers are sent only what
   * differs. Without watchers nothing is added up: it would read every row.
   */
  private addUpForWatchers(): void {
    if (this.watchers.hasAny()) this.stats?.look();
  }

  private open(): StatsAggregate {
    const store = new SourceStore(objectSql(this.ctx.storage));
    store.migrate();
    return new StatsAggregate(store);
  }

  /** Schedules the next liveness check for when a source is due, at most once every REST_MS. */
  private scheduleNextCheck(): Promise<void> {
    const now = Date.now();
    const due = this.livenessCheck.dueAt() ?? now + SILENT_MS;
    return this.ctx.storage.setAlarm(Math.max(due, now + REST_MS));
  }
}
