import { DurableObject } from "cloudflare:workers";
import { parsePosition } from "../channel/position.ts";
import { type Env, hasLocalRights, isOwnServer } from "../env.ts";
import { FILES_PREFIX, firstKeyIn } from "../files/file-keys.ts";
import { signedFileUrl } from "../files/signed-url.ts";
import { Reporter } from "../monitor/reporter.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import type { Refusal, Reply } from "../objects/reply.ts";
import { readSocketRequest, type SocketRequestOf } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import type { JsonObject } from "../protocol/codec.ts";
import { CLOSE } from "../protocol/codes.ts";
import { parseExact } from "../protocol/exact-json.ts";
import type { Report } from "../protocol/monitor.ts";
import type { JobStatus, SpacePatch, SpaceSettings } from "../protocol/resources.ts";
import { SUBSCRIBER_PROTOCOL } from "../protocol/subscriber-frames.ts";
import { WORKER_PROTOCOL } from "../protocol/worker-frames.ts";
import { JobStore } from "../storage/job-store.ts";
import { migrate } from "../storage/migrations.ts";
import { objectSql } from "../storage/object-sql.ts";
import { isMigrated } from "../storage/schema.ts";
import { SpaceStore } from "../storage/space-store.ts";
import { WebhookStore } from "../storage/webhook-store.ts";
import {
  CANCELED_ON_REQUEST,
  type Caller,
  NO_SUCH_JOB,
  noSuchSpace,
  PRIVATE_SPACE,
  type SubmitCall,
  type SubmitReply,
  TOKEN_OUTDATED,
} from "./calls.ts";
import { Connections, newSubscriber } from "./connections.ts";
import { removeFiles } from "./jobs/retention.ts";
import { RevokedTokens } from "./revoked-tokens.ts";
import { SendBuffer } from "./send-buffer.ts";
import { SpaceEngine } from "./space-engine.ts";
import { spaceBody } from "./space-status.ts";

/** One space: its workers' and subscribers' sockets, its queue and its results. */
export class SpaceObject extends DurableObject<Env> {
  /** `null` while the space does not exist: it was not created yet, or was deleted. */
  private engine: SpaceEngine | null = null;
  private readonly connections: Connections;
  private readonly reporter: Reporter;
  private readonly alarms: EarliestAlarm;
  /** Resolves when the files of a deleted space are removed. A new space of the same name waits for that. */
  private deletion: Promise<void> = Promise.resolve();
  private readonly revoked = new RevokedTokens();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.alarms = new EarliestAlarm(ctx.storage);
    this.connections = new Connections(ctx);
    const { name = "" } = ctx.id;
    const wasLive = this.connections.size > 0;
    this.reporter = new Reporter(env, "space", name, () => this.currentReport(), wasLive);
    ctx.blockConcurrencyWhile(async () => {
      await this.alarms.load();
      if (isMigrated(objectSql(ctx.storage))) this.open();
    });
  }

  /**
   * Creates the space, or leaves one that exists as it is.
   *
   * @param isAnother the catalogue has a new row for this space, so whatever this object still has belongs to a
   * deleted space whose deletion was cut off, and is erased first (decision 0004)
   */
  async create(name: string, settings: SpaceSettings, isAnother: boolean): Promise<void> {
    if (isAnother && this.engine) await this.destroy(name);
    await this.deletion;
    if (this.engine) return;
    const sql = objectSql(this.ctx.storage);
    migrate(sql);
    const now = Date.now();
    new SpaceStore(sql).write({ name, settings, createdAt: now, updatedAt: now });
    this.open();
    this.reporter.markChanged();
  }

  /** The space as `GET /api/spaces/:space` shows it. */
  async describe(caller: Caller): Promise<Reply> {
    this.engine?.checkWorkers();
    return this.answer(caller, (engine) => spaceBody(engine.core));
  }

  /** Changes settings. */
  async change(caller: Caller, patch: SpacePatch): Promise<Reply> {
    return this.answer(caller, (engine) =>
      engine.runNow((now) => {
        engine.changeSettings(patch, now);
        return () => spaceBody(engine.core);
      }),
    );
  }

  /**
   * Deletes the space: closes every socket and erases everything, including files. Returns `false` if it did not
   * exist.
   */
  async destroy(name: string): Promise<boolean> {
    const existed = this.engine !== null;
    this.engine?.retire();
    this.engine = null;
    this.connections.closeAll("notFound", "The space was deleted.");
    this.alarms.forget();
    await this.ctx.storage.deleteAll();
    this.deletion = removeFiles(this.env.FILES, `${FILES_PREFIX}${name}/`).catch((error) => {
      // A sweep removes them: no job names them any more (decision 0045).
      console.error("files of a deleted space could not be removed", error);
    });
    await Promise.all([this.deletion, this.reporter.flush()]);
    return existed;
  }

  /** Which of these folders of files no job has: all of them if the space doesn't exist. */
  async unknownFolders(folders: string[]): Promise<string[]> {
    const known = this.engine?.core.store.firstFiles(folders.map(firstKeyIn));
    return folders.filter((folder) => !known?.has(firstKeyIn(folder)));
  }

  /** The monitor calls this when a space has not reported for long; `null` if there is no such space. */
  async getReport(): Promise<Report | null> {
    this.engine?.checkWorkers();
    this.engine?.watchLeases();
    const report = this.currentReport();
    this.reporter.noteDelivered(report);
    return report;
  }

  /**
   * Submits jobs in one batch; one answer for each, in order.
   *
   * @param count how many jobs the caller sent, with those that the Worker has refused
   */
  async submit(
    caller: Caller,
    calls: SubmitCall[],
    count: number = calls.length,
  ): Promise<SubmitReply[]> {
    const found = this.admit(caller);
    if (!("engine" in found)) return calls.map(() => found);
    const { engine } = found;
    const excess = engine.parts.gate.take(caller, count);
    if (excess !== null) return calls.map(() => excess);
    const from = { submitter: null, local: caller.local ?? false };
    return engine.enqueue((now) => {
      const outcomes = calls.map(({ input, files, options }) =>
        engine.parts.submissions.submit(
          { input: parseExact(input) as JsonObject, files, options, ...from },
          now,
        ),
      );
      return {
        answer: () => engine.parts.reads.replies(outcomes),
        about: outcomes.flatMap((outcome) => (outcome.ok ? [outcome.ulid] : [])),
      };
    });
  }

  /** The job as `GET /api/jobs/:id` shows it. */
  async job(caller: Caller, ulid: string): Promise<Reply> {
    this.engine?.flushIfDeferred(ulid);
    this.engine?.checkWorkers();
    return this.answer(caller, (engine) => engine.parts.reads.job(ulid) ?? NO_SUCH_JOB);
  }

  /** A page of the space's jobs, newest first. */
  async jobs(
    caller: Caller,
    filter: { status?: JobStatus; before?: string; limit: number },
  ): Promise<Reply> {
    this.engine?.checkWorkers();
    return this.answer(caller, (engine) => engine.parts.reads.page(filter));
  }

  /** The messages to a job's webhook, and how their delivery went. */
  async webhookDeliveries(caller: Caller, ulid: string): Promise<Reply> {
    this.engine?.flushIfDeferred(ulid);
    return this.answer(caller, (engine) => engine.parts.reads.deliveries(ulid) ?? NO_SUCH_JOB);
  }

  /** The secret that signs the space's webhook messages. Only the operator gets it. */
  async webhookSecret(renew: boolean): Promise<Reply> {
    return this.answer({ operator: true }, ({ parts: { webhooks } }) =>
      JSON.stringify({ secret: renew ? webhooks.renewSecret() : webhooks.secret() }),
    );
  }

  /** Cancels a job, and answers with it. One that has ended stays as it ended. */
  async cancel(caller: Caller, ulid: string): Promise<Reply> {
    const found = this.admit(caller);
    if (!("engine" in found)) return found;
    const { engine } = found;
    return engine.enqueue((now) => {
      const exists = engine.parts.submissions.cancel(ulid, CANCELED_ON_REQUEST, now);
      const answer = (): Reply => {
        const body = exists ? engine.parts.reads.job(ulid) : null;
        return body === null ? NO_SUCH_JOB : { ok: true, body };
      };
      return { answer };
    });
  }

  /** Asks the workers to finish what they have. Each gets jobs again once it has reconnected. */
  async drain(reason: string): Promise<Reply> {
    return this.answer({ operator: true }, (engine) =>
      engine.runNow(() => {
        engine.drainWorkers(reason);
        return () => spaceBody(engine.core);
      }),
    );
  }

  /** Closes the sockets of workers that came with a token that is now revoked. */
  async dropToken(tokenId: string): Promise<void> {
    this.revoked.add(tokenId);
    this.engine?.runNow((now) => {
      this.engine?.dropToken(tokenId, now);
      return () => null;
    });
  }

  /** Opens a socket that the Worker has authenticated, also for a stream of server-sent events (decision 0009). */
  override async fetch(request: Request): Promise<Response> {
    const socket = readSocketRequest(request.headers, "worker", "subscriber");
    const found = this.admit({ operator: socket.kind === "worker" || socket.operator });
    if (!("engine" in found)) return Response.json(found, { status: 404 });
    const { engine } = found;
    const { 0: client, 1: server } = new WebSocketPair();
    const refusal =
      socket.kind === "worker"
        ? this.openWorker(engine, server, socket)
        : await this.openSubscriber(engine, server, socket);
    if (refusal !== null) return Response.json(refusal, { status: 404 });
    return new Response(null, {
      status: 101,
      webSocket: client,
      headers: protocolHeader(request, [WORKER_PROTOCOL, SUBSCRIBER_PROTOCOL]),
    });
  }

  private openWorker(
    engine: SpaceEngine,
    server: WebSocket,
    socket: SocketRequestOf<"worker">,
  ): Refusal | null {
    const { checkedAt, tokenId } = socket;
    const isOutdated = checkedAt < engine.core.record.createdAt || this.revoked.has(tokenId);
    if (isOutdated) return TOKEN_OUTDATED;
    return engine.openWorker(server, { ...socket, id: crypto.randomUUID() });
  }

  private async openSubscriber(
    engine: SpaceEngine,
    server: WebSocket,
    socket: SocketRequestOf<"subscriber">,
  ): Promise<Refusal | null> {
    const since = parsePosition(socket.since);
    await engine.turnToOpen(socket.jobUlid, since);
    // The space may have been deleted meanwhile.
    if (this.engine !== engine) return noSuchSpace(this.ctx.id.name ?? "");
    return engine.openSubscriber(server, newSubscriber(crypto.randomUUID(), socket), since);
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const connection = this.connections.of(socket);
    if (connection) await this.engine?.onMessage(connection, message);
    else this.connections.ignore();
  }

  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    await this.onSocketGone(socket, code === CLOSE.done.code);
    closeQuietly(socket, code, reason);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    await this.onSocketGone(socket, false);
    closeQuietly(socket, CLOSE.goingAway.code, "");
  }

  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    this.alarms.onAlarm(Date.now(), info?.scheduledTime);
    const { engine } = this;
    if (!engine) return;
    await engine.runInOrder((now) => engine.tick(now, this.alarms.resumedAt));
    await engine.sweep(this.env.FILES);
    engine.rearm(Date.now());
  }

  private async onSocketGone(socket: WebSocket, saidGoodbye: boolean): Promise<void> {
    this.connections.onGone(socket);
    const connection = this.connections.of(socket);
    if (connection) await this.engine?.onClose(connection, saidGoodbye);
    else if (this.engine) this.reporter.markChanged();
  }

  private open(): void {
    const sql = objectSql(this.ctx.storage);
    migrate(sql);
    const spaces = new SpaceStore(sql);
    const record = spaces.read();
    if (!record) return;
    const store = new JobStore(sql, spaces.awayMs());
    const webhooks = new WebhookStore(sql);
    const { connections, env } = this;
    this.engine = new SpaceEngine({
      spaces,
      store,
      webhooks,
      localRights: hasLocalRights(env),
      mayStandStill: isOwnServer(env),
      submits: env.SUBMITS,
      jobsPerMinute: Number(env.JOBS_PER_MINUTE ?? DEFAULT_JOBS_PER_MINUTE),
      maxKeptBytes: Number(env.MAX_KEPT_MB ?? DEFAULT_KEPT_MB) * 1_048_576,
      record,
      connections,
      sendBuffer: new SendBuffer(connections),
      fileUrl: (origin, key, expiresAt) => signedFileUrl(env.SIGNING_KEY, origin, key, expiresAt),
      alarmAt: this.alarms.dueAt,
      armAlarm: (at) => this.alarms.arm(at),
      // `engine` is still `null` while its constructor runs a first batch. What woke the object reports that
      // change, too.
      onChange: () => this.engine && this.reporter.markChanged(),
      isPolled: () => this.reporter.isPolled,
      crash: (error) => this.ctx.abort(String(error)),
    });
  }

  private currentReport(): Report | null {
    return this.engine?.parts.report.current() ?? null;
  }

  /** The engine, if the space exists and the caller may use it (decision 0005). */
  private admit(caller: Caller): { engine: SpaceEngine } | Refusal {
    const { engine } = this;
    if (!engine) return noSuchSpace(this.ctx.id.name ?? "");
    if (engine.core.record.settings.visibility === "private" && !caller.operator)
      return PRIVATE_SPACE;
    return { engine };
  }

  private answer(caller: Caller, make: (engine: SpaceEngine) => string | Reply): Reply {
    const found = this.admit(caller);
    if (!("engine" in found)) return found;
    const made = make(found.engine);
    return typeof made === "string" ? { ok: true, body: made } : made;
  }
}

const DEFAULT_JOBS_PER_MINUTE = 600;

/** A tenth of what an object may store: waiting and running jobs need room too. */
const DEFAULT_KEPT_MB = 1_024;
