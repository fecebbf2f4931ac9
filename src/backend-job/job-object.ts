import { DurableObject } from "cloudflare:workers";
import { parsePosition } from "../channel/position.ts";
import type { Env } from "../env.ts";
import { Reporter } from "../monitor/reporter.ts";
import { Allowances, retryText } from "../objects/allowances.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { type Credentials, credentialsOf } from "../objects/credentials.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import { answerPings } from "../objects/pings.ts";
import { RATES } from "../objects/rate-limiter.ts";
import type { Reply } from "../objects/reply.ts";
import { readSocketRequest } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import type { BackendReport, CreateBackendJobBody } from "../protocol/backend-jobs.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Report } from "../protocol/monitor.ts";
import { BackendJobStore } from "../storage/backend-job-store.ts";
import { objectSql } from "../storage/object-sql.ts";
import { isMigrated } from "../storage/schema.ts";
import { BackendJobEngine } from "./backend-job-engine.ts";
import { BackendJobHandler } from "./backend-job-handler.ts";
import { BackendJobSockets } from "./backend-job-sockets.ts";
import { type CreateReply, JOB_ENDED, NO_SUCH_JOB, PRIVATE_JOB } from "./calls.ts";
import { erasedAt } from "./deadlines.ts";
import { indexOf } from "./job-index.ts";
import { receiptOf, reportOf } from "./render.ts";
import { attachmentFor } from "./socket-attachment.ts";

/** One job without a space: its backend reports it, everyone else follows it (decision 0025). */
export class JobObject extends DurableObject<Env> {
  private readonly id: string;
  private readonly sockets: BackendJobSockets;
  private readonly engine: BackendJobEngine;
  private readonly handler: BackendJobHandler;
  private readonly reporter: Reporter;
  private readonly alarms: EarliestAlarm;
  private readonly credentials: Credentials;
  /** The reports that come over HTTP. */
  private readonly reports = new Allowances(RATES.backend);
  /** The job exists, or existed: the monitor gets reports of it. */
  private isCounted = false;
  /** The job is in the index (decision 0043). */
  private isListed = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.alarms = new EarliestAlarm(ctx.storage);
    this.credentials = credentialsOf(env, "job", ctx);
    this.id = ctx.id.name ?? "";
    answerPings(ctx, env);
    this.sockets = new BackendJobSockets(ctx);
    const { id, sockets } = this;
    const sql = objectSql(ctx.storage);
    const store = new BackendJobStore(sql);
    const crash = (error: unknown) => ctx.abort(String(error));
    this.engine = new BackendJobEngine({
      id,
      sql,
      store,
      sockets,
      crash,
      onChange: () => this.onChange(),
    });
    this.handler = new BackendJobHandler(id, sockets, this.engine);
    this.reporter = new Reporter(env, "job", id, () => this.currentReport());
    ctx.blockConcurrencyWhile(async () => {
      await this.alarms.load();
      if (!isMigrated(sql)) return;
      store.migrate();
      this.engine.load();
      this.isCounted = this.engine.job !== null;
      this.isListed = this.isCounted;
    });
  }

  /** Creates the job. `text` is JSON that the Worker has validated. */
  async create(text: string): Promise<CreateReply> {
    const body = parseExact(text) as CreateBackendJobBody;
    let waiting: string | null = null;
    let reply: CreateReply | "unlisted" = "unlisted";
    while (reply === "unlisted") {
      if (!this.isListed) waiting = await this.list(body.user);
      reply = await this.engine.enqueue((now) => this.make(body, now), text.length);
    }
    if (waiting !== null) await this.announce();
    return reply;
  }

  /** Enters the job in the index, where requests look first. Returns the epoch that those who wait for it know. */
  private async list(user: string | null): Promise<string | null> {
    const epoch = await indexOf(this.env, this.id).add(this.id, user);
    if (epoch !== null && !this.engine.job) this.engine.setNextEpoch(epoch);
    this.isListed = true;
    return epoch;
  }

  private make(body: CreateBackendJobBody, now: number): () => CreateReply | "unlisted" {
    // It was erased while this call waited for its turn.
    if (!this.isListed) return () => "unlisted";
    const creation = this.engine.make(body, now);
    return () => {
      if (creation.kind !== "taken") {
        const isRepeat = creation.kind === "repeat";
        return { ok: true, body: this.engine.body() ?? "null", isRepeat };
      }
      const detail = `The job ${this.id} already exists with other content: choose another id.`;
      return { ok: false, code: "job_exists", detail };
    };
  }

  /** Tells those who wait for the job that it exists. If this fails, the index does it by itself a little later. */
  private async announce(): Promise<void> {
    try {
      await indexOf(this.env, this.id).announce(this.id);
    } catch (error) {
      console.error(`the job ${this.id} could not be announced`, error);
    }
  }

  /** Applies a report of the backend. `body` is JSON text that the Worker has validated. */
  async report(body: string): Promise<Reply> {
    const waitS = this.reports.take("", 1, Date.now());
    if (waitS > 0) {
      const detail = `Too many reports of this job: ${LIMITS.backendFramesPerSecond} a second at most; ${retryText(waitS)}.`;
      return { ok: false, code: "rate_limited", detail, retryAfterS: waitS };
    }
    return this.engine.enqueue((now) => {
      const report = parseExact(body) as BackendReport;
      const outcome = this.engine.apply(report, now);
      return (): Reply => {
        if (outcome.kind === "unknown") return NO_SUCH_JOB;
        if (outcome.kind === "ended") return JOB_ENDED;
        if (report.type === "progress" || report.type === "output") {
          return { ok: true, body: JSON.stringify(receiptOf(outcome)) };
        }
        return { ok: true, body: this.engine.body() ?? "null" };
      };
    }, body.length);
  }

  /**
   * The job as `GET /api/jobs/:id` shows it.
   *
   * @param mayRead the caller may read it even if it is private
   * @param user the caller may read it, too, if it was made for this user
   */
  async job(mayRead: boolean, user: string | null = null): Promise<Reply> {
    const { job } = this.engine;
    const isOwn = user !== null && user === job?.user;
    if (job?.visibility === "private" && !mayRead && !isOwn) return PRIVATE_JOB;
    const body = this.engine.body();
    return body === null ? NO_SUCH_JOB : { ok: true, body };
  }

  /** The monitor calls this when the job has not reported for long; `null` if it does not exist. */
  async getReport(): Promise<Report | null> {
    return this.currentReport();
  }

  /** The holder of sessions and keys calls this when some of them were taken back; see `reviewSockets`. */
  async review(holder: string, ended: string[]): Promise<string[]> {
    this.credentials.forget(holder);
    // What was reported before is sent before.
    this.engine.flush();
    const alive = this.handler.review(holder, ended);
    this.onChange();
    return alive;
  }

  /** Opens a socket that the Worker has authenticated. Nothing else comes by `fetch`. */
  override async fetch(request: Request): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    const socketRequest = readSocketRequest(request.headers, "backend-job");
    const since = parsePosition(socketRequest.since);
    const attachment = attachmentFor(this.id, socketRequest, Date.now());
    const { waited } = socketRequest;
    const ended = await this.credentials.refusalOf(attachment.credential);
    if (ended !== null) return Response.json(ended, { status: 401 });
    // Sockets wait at the index for a job that does not exist.
    const refusal = this.engine.open(server, attachment, { since, waited, mustExist: true });
    if (refusal) return Response.json(refusal, { status: 404 });
    return new Response(null, {
      status: 101,
      webSocket: client,
      headers: protocolHeader(request),
    });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const known = this.sockets.of(socket);
    if (known) await this.handler.onMessage(known, message);
    else this.sockets.ignore();
  }

  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    this.onSocketGone(socket);
    closeQuietly(socket, code, reason);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    this.onSocketGone(socket);
  }

  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    this.handler.makeUpFor(this.alarms.onAlarm(Date.now(), info?.scheduledTime));
    // A report that arrived just now may move the deadlines, so it is handled first.
    const isSettled = this.engine.flush();
    const now = Date.now();
    const { job } = this.engine;
    if (job && erasedAt(job) <= now && isSettled) await this.erase();
    else this.handler.tick(now, this.alarms.resumedAt);
    this.onChange();
  }

  /** Erases the job, whether it has ended or not: whoever follows it is told that it is gone. */
  async eraseNow(): Promise<void> {
    if (!this.engine.job) return;
    await this.erase();
    this.reporter.markChanged();
  }

  private async erase(): Promise<void> {
    this.handler.closeAll();
    this.engine.forget();
    this.alarms.forget();
    this.isListed = false;
    await this.ctx.blockConcurrencyWhile(async () => {
      await indexOf(this.env, this.id).remove(this.id);
      await this.ctx.storage.deleteAll();
    });
  }

  /** Sets the alarm and reports to the monitor when the job or its sockets have changed. */
  private onChange(): void {
    const { job } = this.engine;
    const due = [job ? erasedAt(job) : null, this.handler.dueAt()].filter((at) => at !== null);
    if (due.length > 0) this.alarms.arm(Math.min(...due));
    if (job) this.isCounted = true;
    if (this.isCounted) this.reporter.markChanged();
  }

  /** The report for the monitor; `null` while there is only a socket that waits: anybody may open such sockets. */
  private currentReport(): Report | null {
    const { job } = this.engine;
    return job && reportOf(job, this.sockets.size);
  }

  private onSocketGone(socket: WebSocket): void {
    const known = this.sockets.of(socket);
    this.sockets.onGone(socket);
    if (known) this.engine.onClose(known);
    this.onChange();
  }
}
