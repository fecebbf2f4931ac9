import { DurableObject } from "cloudflare:workers";
import { mayPublish, maySubscribe } from "../auth/principal.ts";
import type { SessionPrincipal } from "../auth/session.ts";
import { parsePosition } from "../channel/position.ts";
import { throttledAs } from "../channel/throttle.ts";
import type { Env } from "../env.ts";
import { Reporter } from "../monitor/reporter.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import type { Reply } from "../objects/reply.ts";
import { readSocketRequest, type SocketRequestOf } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import type { BackendReport, CreateBackendJobBody } from "../protocol/backend-jobs.ts";
import { parseExact } from "../protocol/exact-json.ts";
import type { Report } from "../protocol/monitor.ts";
import { BackendJobStore } from "../storage/backend-job-store.ts";
import { objectSql } from "../storage/object-sql.ts";
import { isMigrated } from "../storage/schema.ts";
import { BackendJobEngine } from "./backend-job-engine.ts";
import { BackendJobHandler } from "./backend-job-handler.ts";
import { type BackendJobAttachment, BackendJobSockets } from "./backend-job-sockets.ts";
import { type CreateReply, JOB_ENDED, NO_SUCH_JOB, PRIVATE_JOB, type Rights } from "./calls.ts";
import { erasedAt } from "./deadlines.ts";
import { receiptOf, reportOf } from "./render.ts";

/** One job without a space: its backend reports it, everyone else follows it (decision 0025). */
export class JobObject extends DurableObject<Env> {
  private readonly id: string;
  private readonly sockets: BackendJobSockets;
  private readonly engine: BackendJobEngine;
  private readonly handler: BackendJobHandler;
  private readonly reporter: Reporter;
  private readonly alarms: EarliestAlarm;
  /** The job exists, or existed: the monitor gets reports of it. */
  private isCounted = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.alarms = new EarliestAlarm(ctx.storage);
    this.id = ctx.id.name ?? "";
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
    });
  }

  /** Creates the job. `body` is JSON text that the Worker has validated. */
  async create(body: string): Promise<CreateReply> {
    return this.engine.enqueue((now) => {
      const creation = this.engine.make(parseExact(body) as CreateBackendJobBody, now);
      return (): CreateReply => {
        if (creation.kind !== "taken") {
          return {
            ok: true,
            body: this.engine.body() ?? "null",
            isRepeat: creation.kind === "repeat",
          };
        }
        const detail = `The job ${this.id} already exists with other content: choose another id.`;
        return { ok: false, code: "job_exists", detail };
      };
    });
  }

  /** Applies a report of the backend. `body` is JSON text that the Worker has validated. */
  async report(body: string): Promise<Reply> {
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
    });
  }

  /** The job as `GET /api/jobs/:id` shows it. `mayRead`: the caller may read it even if it is private. */
  async job(mayRead: boolean): Promise<Reply> {
    if (this.engine.job?.visibility === "private" && !mayRead) return PRIVATE_JOB;
    const body = this.engine.body();
    return body === null ? NO_SUCH_JOB : { ok: true, body };
  }

  /** The monitor calls this when the job has not reported for long; `null` if it does not exist. */
  async getReport(): Promise<Report | null> {
    return this.currentReport();
  }

  /** Opens a socket that the Worker has authenticated. Nothing else comes by `fetch`. */
  override async fetch(request: Request): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    const socketRequest = readSocketRequest(request.headers, "backend-job");
    const since = parsePosition(socketRequest.since);
    const rights = this.rightsOf(socketRequest.principal);
    const attachment = attachmentFor(rights, socketRequest, Date.now());
    const { mustExist } = socketRequest;
    const refusal = this.engine.open(server, attachment, { since, mustExist });
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
  }

  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    this.onSocketGone(socket);
    closeQuietly(socket, code, reason);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    this.onSocketGone(socket);
  }

  override async alarm(): Promise<void> {
    this.alarms.forget();
    // A report that arrived just now may move the deadlines, so it is handled first.
    this.engine.flush();
    const now = Date.now();
    const { job } = this.engine;
    if (job && erasedAt(job) <= now) await this.erase();
    else this.handler.tick(now);
    this.onChange();
  }

  private async erase(): Promise<void> {
    this.handler.closeAll();
    this.engine.forget();
    this.alarms.forget();
    await this.ctx.blockConcurrencyWhile(() => this.ctx.storage.deleteAll());
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
    if (known) this.engine.onClose(known);
    this.onChange();
  }

  private rightsOf(principal: SessionPrincipal | null): Rights {
    if (!principal) return { publish: false, read: false, expiresAt: null };
    const address = `job:${this.id}`;
    return {
      publish: mayPublish(principal, address),
      read: maySubscribe(principal, address),
      expiresAt: principal.kind === "operator" ? null : principal.expiresAt,
    };
  }
}

function attachmentFor(
  rights: Rights,
  request: SocketRequestOf<"backend-job">,
  now: number,
): BackendJobAttachment {
  const { pingS, maxRate, acks } = request;
  const everyMs = pingS === null ? 0 : pingS * 1_000;
  return {
    id: crypto.randomUUID(),
    ...rights,
    openedAt: now,
    pending: null,
    ping: pingS === null ? null : { everyMs, at: now + everyMs },
    heardAt: now,
    throttled: throttledAs(maxRate, acks),
    malformed: 0,
  };
}
