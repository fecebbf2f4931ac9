import { DurableObject } from "cloudflare:workers";
import { parsePosition } from "../channel/position.ts";
import type { Env } from "../env.ts";
import { MONITOR_NAME } from "../monitor/reporter.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { type Credentials, credentialsOf } from "../objects/credentials.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import { turnsOf } from "../objects/message-turns.ts";
import { answerPings } from "../objects/pings.ts";
import { readersOf } from "../objects/readers.ts";
import { readSocketRequest } from "../objects/socket-request.ts";
import { JobIndexStore } from "../storage/job-index-store.ts";
import { objectSql } from "../storage/object-sql.ts";
import { isMigrated } from "../storage/schema.ts";
import { indexNameOf } from "./job-index.ts";
import { attachmentFor } from "./socket-attachment.ts";
import { WaitingJobs } from "./waiting-jobs.ts";

/** If the object of a new job fails to announce it, the sockets that wait for it are told this much later. */
const ANNOUNCE_WITHIN_MS = 5_000;

/**
 * Knows which jobs without a space exist, and holds the sockets that wait for others. So a request for a job that
 * nobody has made makes no object (decision 0043). A few of these objects share all ids.
 */
export class JobIndexObject extends DurableObject<Env> {
  private readonly store: JobIndexStore;
  private readonly waiting: WaitingJobs;
  private readonly alarms: EarliestAlarm;
  private readonly credentials: Credentials;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const sql = objectSql(ctx.storage);
    const hasTables = isMigrated(sql);
    this.store = new JobIndexStore(sql, hasTables);
    this.alarms = new EarliestAlarm(ctx.storage);
    this.credentials = credentialsOf(env, "job-index", ctx);
    answerPings(ctx, env);
    this.waiting = new WaitingJobs({ ctx, sql, arm: (at) => this.alarms.arm(at) });
    ctx.blockConcurrencyWhile(async () => {
      await this.alarms.load();
      if (!hasTables) await this.takeOver();
    });
  }

  async has(id: string): Promise<boolean> {
    return this.store.has(id);
  }

  /**
   * A job is about to be made. Returns the epoch that the sockets which wait for it were sent; `null` if there are
   * none.
   */
  async add(id: string, user: string | null): Promise<string | null> {
    this.store.add(id, user);
    const job = this.waiting.find(id);
    if (!job || job.sockets.size === 0) return null;
    this.alarms.arm(Date.now() + ANNOUNCE_WITHIN_MS);
    return job.engine.epoch;
  }

  /** The ids of a user's jobs in this part of the index, in order. */
  async ofUser(user: string, after: string, limit: number): Promise<string[]> {
    return this.store.ofUser(user, after, limit);
  }

  /** A job was made, and is stored. */
  async announce(id: string): Promise<void> {
    this.waiting.announce(id);
  }

  /** A job is about to be erased. */
  async remove(id: string): Promise<void> {
    this.store.remove(id);
  }

  /** The holder of sessions and keys calls this when some of them were taken back; see `reviewSockets`. */
  async review(holder: string, ended: string[]): Promise<string[]> {
    this.credentials.forget(holder);
    return this.waiting.review(holder, ended);
  }

  /** Opens a socket that waits for a job; the Worker or a gateway has authenticated it. */
  override async fetch(request: Request): Promise<Response> {
    const id = new URL(request.url).pathname.slice(1);
    const { 0: client, 1: server } = new WebSocketPair();
    const asked = readSocketRequest(request.headers, "backend-job");
    const attachment = attachmentFor(id, asked, Date.now());
    const ended = await this.credentials.refusalOf(attachment.credential);
    if (ended !== null) return Response.json(ended, { status: 401 });
    const { engine } = this.waiting.findOrMake(id);
    const since = parsePosition(asked.since);
    const refusal = engine.open(server, attachment, { since, waited: false, mustExist: false });
    if (refusal) return Response.json(refusal, { status: 429 });
    // It may have been made since the Worker asked.
    if (this.store.has(id)) this.alarms.arm(Date.now() + ANNOUNCE_WITHIN_MS);
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const found = this.waiting.of(socket);
    if (found) await found.job.handler.onMessage(found.known, message);
    else turnsOf(this.ctx).onIgnored();
  }

  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    this.onSocketGone(socket);
    closeQuietly(socket, code, reason);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    this.onSocketGone(socket);
  }

  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    const now = Date.now();
    this.waiting.makeUpFor(this.alarms.onAlarm(now, info?.scheduledTime));
    for (const id of this.waiting.ids) if (this.store.has(id)) this.waiting.announce(id);
    this.waiting.tick(now, this.alarms.resumedAt);
    this.alarms.arm(this.waiting.dueAt());
  }

  /** Jobs that an earlier release has made are in no index, but the monitor has a row of each. */
  private async takeOver(): Promise<void> {
    const monitor = this.env.MONITOR.getByName(MONITOR_NAME);
    for (let after: string | null = ""; after !== null; ) {
      const page: string[] = await monitor.jobIds(after);
      for (const id of page) if (indexNameOf(id) === this.ctx.id.name) this.store.add(id, null);
      after = page.at(-1) ?? null;
    }
  }

  private onSocketGone(socket: WebSocket): void {
    readersOf(this.ctx).onGone(socket);
    const found = this.waiting.of(socket);
    if (found) found.job.engine.onClose(found.known);
    this.waiting.prune();
  }
}
