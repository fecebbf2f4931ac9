import { DurableObject } from "cloudflare:workers";
import { parsePosition } from "../channel/position.ts";
import type { Env } from "../env.ts";
import { signedFileUrl } from "../files/signed-url.ts";
import { Reporter } from "../monitor/reporter.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import type { JsonObject } from "../protocol/codec.ts";
import { CLOSE } from "../protocol/codes.ts";
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
  NO_SUCH_SPACE,
  PRIVATE_SPACE,
  type Refusal,
  type Reply,
  SOCKET_HEADERS,
  type SubmitCall,
  type SubmitReply,
} from "./calls.ts";
import { Connections, closeQuietly, newSubscriber } from "./connections.ts";
import { Outbox, spaceBody } from "./core.ts";
import { removeFiles } from "./retention.ts";
import { SpaceDesk } from "./space-desk.ts";

/** One space: its worker's socket, its subscribers, its queue and results. */
export class SpaceObject extends DurableObject<Env> {
  private desk: SpaceDesk | null = null;
  private readonly connections: Connections;
  private readonly reporter: Reporter;
  private readonly alarms: EarliestAlarm;
  /** The files of a deleted space are being removed: another of its name waits for that. */
  private ending: Promise<void> = Promise.resolve();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.alarms = new EarliestAlarm(ctx.storage);
    this.connections = new Connections(ctx);
    const { name = "" } = ctx.id;
    const wasLive = this.connections.count > 0;
    this.reporter = new Reporter(env, "space", name, () => this.report(), wasLive);
    ctx.blockConcurrencyWhile(async () => {
      await this.alarms.load();
      if (isMigrated(objectSql(ctx.storage))) this.open();
    });
  }

  /**
   * Makes the space. Where one is there already it stays as it is, unless the new one is another: then
   * the old one was deleted, and the deletion cut off.
   */
  async create(name: string, settings: SpaceSettings, isAnother: boolean): Promise<void> {
    if (isAnother && this.desk) await this.destroy(name);
    await this.ending;
    if (this.desk) return;
    const sql = objectSql(this.ctx.storage);
    migrate(sql);
    const now = Date.now();
    new SpaceStore(sql).write({ name, settings, createdAt: now, updatedAt: now });
    this.open();
    this.reporter.changed();
  }

  async describe(caller: Caller): Promise<Reply> {
    this.desk?.dropSilent();
    return this.answer(caller, (desk) => spaceBody(desk.core));
  }

  async change(caller: Caller, patch: SpacePatch): Promise<Reply> {
    return this.answer(caller, (desk) =>
      desk.batch((now) => {
        desk.changeSettings(patch, now);
        return () => spaceBody(desk.core);
      }),
    );
  }

  /** Ends every socket and forgets everything, files included; `false` where nothing was there. */
  async destroy(name: string): Promise<boolean> {
    const existed = this.desk !== null;
    this.desk?.retire();
    this.desk = null;
    this.connections.closeAll("notFound", "The space was deleted.");
    this.alarms.forget();
    await this.ctx.storage.deleteAll();
    this.ending = removeFiles(this.env.FILES, `spaces/${name}/`);
    await Promise.all([this.ending, this.reporter.flush()]);
    return existed;
  }

  /** What the monitor asks where it heard nothing for long; `null` where there is no such space. */
  async census(): Promise<Report | null> {
    const report = this.report();
    this.reporter.heard(report);
    return report;
  }

  async submit(caller: Caller, calls: SubmitCall[]): Promise<SubmitReply[]> {
    const found = this.admit(caller);
    if (!("desk" in found)) return calls.map(() => found);
    const { desk } = found;
    return desk.enqueue((now) => {
      const taken = calls.map(({ input, files, options }) =>
        desk.intake.submit(
          {
            input: JSON.parse(input) as JsonObject,
            files,
            options,
            submitter: null,
          },
          now,
        ),
      );
      const answer = () =>
        taken.map((one): SubmitReply => {
          if (!one.ok) return { ok: false, code: one.code, detail: one.message };
          const { job, isRepeat } = one;
          const { ulid } = job;
          return { ok: true, body: desk.reads.job(ulid) ?? "null", ulid, isRepeat };
        });
      return { answer, about: taken.flatMap((one) => (one.ok ? [one.job.ulid] : [])) };
    });
  }

  async job(caller: Caller, ulid: string): Promise<Reply> {
    this.desk?.askedFor(ulid);
    return this.answer(caller, (desk) => desk.reads.job(ulid) ?? NO_SUCH_JOB);
  }

  async jobs(
    caller: Caller,
    filter: { status?: JobStatus; before?: string; limit: number },
  ): Promise<Reply> {
    return this.answer(caller, (desk) => desk.reads.page(filter));
  }

  async webhookDeliveries(caller: Caller, ulid: string): Promise<Reply> {
    this.desk?.askedFor(ulid);
    return this.answer(caller, (desk) => desk.reads.deliveries(ulid) ?? NO_SUCH_JOB);
  }

  /** The secret by which the space's webhooks are signed; for the operator. */
  async webhookSecret(renew: boolean): Promise<Reply> {
    return this.answer({ operator: true }, ({ webhooks }) =>
      JSON.stringify({ secret: renew ? webhooks.renewSecret() : webhooks.secret() }),
    );
  }

  async cancel(caller: Caller, ulid: string): Promise<Reply> {
    const found = this.admit(caller);
    if (!("desk" in found)) return found;
    const { desk } = found;
    return desk.enqueue((now) => {
      const known = desk.intake.cancel(ulid, CANCELED_ON_REQUEST, now);
      const answer = (): Reply => {
        const body = known ? desk.reads.job(ulid) : null;
        return body === null ? NO_SUCH_JOB : { ok: true, body };
      };
      return { answer };
    });
  }

  /** The workers finish what they have; each takes jobs again once it has dialed again. */
  async drain(reason: string): Promise<Reply> {
    return this.answer({ operator: true }, (desk) =>
      desk.batch(() => {
        desk.drainWorkers(reason);
        return () => spaceBody(desk.core);
      }),
    );
  }

  /** A revoked token ends the connection that came with it. */
  async dropToken(tokenId: string): Promise<void> {
    this.desk?.batch((now) => {
      this.desk?.dropToken(tokenId, now);
      return () => null;
    });
  }

  /** Sockets only: the Worker has authenticated them and says who they are in `SOCKET_HEADERS`. */
  override async fetch(request: Request): Promise<Response> {
    const header = (name: keyof typeof SOCKET_HEADERS) => request.headers.get(SOCKET_HEADERS[name]);
    const operator = header("operator") === "1";
    const found = this.admit({ operator: operator || header("role") === "worker" });
    if (!("desk" in found)) return Response.json(found, { status: 404 });
    const { desk } = found;
    const { 0: client, 1: server } = new WebSocketPair();
    const id = crypto.randomUUID();
    if (header("role") === "worker") {
      const origin = header("origin") ?? "";
      const batch = header("batch") === "1";
      desk.openWorker(server, { id, origin, tokenId: header("tokenId") ?? "", batch });
    } else {
      const since = parsePosition(header("since"));
      const opened = desk.openSubscriber(server, newSubscriber(id, request.headers), since);
      if (!opened) return Response.json(NO_SUCH_JOB, { status: 404 });
    }
    return new Response(null, {
      status: 101,
      webSocket: client,
      headers: protocolHeader(request, [WORKER_PROTOCOL, SUBSCRIBER_PROTOCOL]),
    });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const connection = this.connections.of(socket);
    if (connection) await this.desk?.receive(connection, message);
  }

  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    await this.left(socket, code === CLOSE.done.code);
    closeQuietly(socket, code, reason);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    await this.left(socket, false);
  }

  override async alarm(): Promise<void> {
    this.alarms.forget();
    const { desk } = this;
    if (!desk) return;
    desk.batch((now) => {
      desk.tick(now);
      return () => null;
    });
    await desk.sweep(this.env.FILES);
    desk.rearm(Date.now());
  }

  private async left(socket: WebSocket, saidGoodbye: boolean): Promise<void> {
    const connection = this.connections.of(socket);
    if (connection) await this.desk?.left(connection, saidGoodbye);
    else if (this.desk) this.reporter.changed();
  }

  private open(): void {
    const sql = objectSql(this.ctx.storage);
    migrate(sql);
    const spaces = new SpaceStore(sql);
    const record = spaces.read();
    if (!record) return;
    const store = new JobStore(sql);
    const webhooks = new WebhookStore(sql);
    const { connections, env } = this;
    this.desk = new SpaceDesk({
      spaces,
      store,
      webhooks,
      allowPrivateWebhooks: env.LOCAL === "true",
      submits: env.LOCAL === "true" ? null : env.SUBMITS,
      maxKeptBytes: Number(env.MAX_KEPT_MB ?? DEFAULT_KEPT_MB) * 1_048_576,
      record,
      connections,
      outbox: new Outbox(connections),
      fileUrl: (origin, key, expiresAt) => signedFileUrl(env.SIGNING_KEY, origin, key, expiresAt),
      armAlarm: (at) => this.alarms.arm(at),
      // What woke the object comes once it is open, and is told with it.
      changed: () => this.desk && this.reporter.changed(),
      isAwaited: () => this.reporter.isAwaited,
      crash: (error) => this.ctx.abort(String(error)),
    });
  }

  private report(): Report | null {
    return this.desk?.figures.report() ?? null;
  }

  private admit(caller: Caller): { desk: SpaceDesk } | Refusal {
    const { desk } = this;
    if (!desk) return NO_SUCH_SPACE;
    if (desk.core.record.settings.visibility === "private" && !caller.operator)
      return PRIVATE_SPACE;
    return { desk };
  }

  private answer(caller: Caller, make: (desk: SpaceDesk) => string | Reply): Reply {
    const found = this.admit(caller);
    if (!("desk" in found)) return found;
    const made = make(found.desk);
    return typeof made === "string" ? { ok: true, body: made } : made;
  }
}

/** A tenth of what an object may store: what waits and runs needs room too. */
const DEFAULT_KEPT_MB = 1_024;
