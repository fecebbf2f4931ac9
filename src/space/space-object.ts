import { DurableObject } from "cloudflare:workers";
import { type Caller, EDGE } from "../auth/caller.ts";
import { SpaceCatalog } from "../catalog/space-catalog.ts";
import { UserNotes } from "../catalog/user-spaces.ts";
import { parsePosition } from "../channel/position.ts";
import { type Env, hasLocalRights } from "../env.ts";
import { FILES_PREFIX, firstKeyIn } from "../files/file-keys.ts";
import { signedFileUrl } from "../files/signed-url.ts";
import { Reporter } from "../monitor/reporter.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { type Credentials, credentialsOf } from "../objects/credentials.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import type { Refusal, Reply } from "../objects/reply.ts";
import { readSocketRequest, type SocketRequestOf } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import type { JsonObject } from "../protocol/codec.ts";
import { CLOSE } from "../protocol/codes.ts";
import { parseExact } from "../protocol/exact-json.ts";
import type { MemberAccess } from "../protocol/members.ts";
import type { Report } from "../protocol/monitor.ts";
import type { SpacePatch, SpaceSettings } from "../protocol/resources.ts";
import { SUBSCRIBER_PROTOCOL } from "../protocol/subscriber-frames.ts";
import { WORKER_PROTOCOL } from "../protocol/worker-frames.ts";
import { type JobFilter, JobStore } from "../storage/job-store.ts";
import { migrate } from "../storage/migrations.ts";
import { objectSql } from "../storage/object-sql.ts";
import { isMigrated } from "../storage/schema.ts";
import { SpaceStore } from "../storage/space-store.ts";
import { WebhookStore } from "../storage/webhook-store.ts";
import { accessOf, jobRefusalOf, type Purpose, refusalOf } from "./access.ts";
import {
  CANCELED_ON_REQUEST,
  NO_SUCH_JOB,
  noSuchSpace,
  type SubmitCall,
  type SubmitReply,
  TOKEN_OUTDATED,
} from "./calls.ts";
import { Connections, newSubscriber } from "./connections.ts";
import { Parties } from "./jobs/parties.ts";
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
  private readonly users: UserNotes;
  private readonly credentials: Credentials;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.alarms = new EarliestAlarm(ctx.storage);
    this.credentials = credentialsOf(env, "space", ctx);
    this.connections = new Connections(ctx);
    const { name = "" } = ctx.id;
    this.users = new UserNotes(env.DB, name);
    const wasLive = this.connections.size > 0;
    this.reporter = new Reporter(env, "space", name, () => this.currentReport(), wasLive);
    ctx.blockConcurrencyWhile(async () => {
      await this.alarms.load();
      if (!isMigrated(objectSql(ctx.storage))) return;
      this.open();
      await this.findOwner();
    });
  }

  /**
   * Creates the space, or leaves one that exists as it is.
   *
   * @param isAnother the catalogue has a new row for this space, so whatever this object still has belongs to a
   * deleted space whose deletion was cut off, and is erased first (decision 0004)
   * @param owner the id of the owner's account; `null`: the operator
   */
  async create(
    name: string,
    settings: SpaceSettings,
    isAnother: boolean,
    owner: string | null = null,
  ): Promise<void> {
    if (isAnother && this.engine) await this.destroy(name);
    await this.deletion;
    if (this.engine) return;
    const sql = objectSql(this.ctx.storage);
    migrate(sql);
    const now = Date.now();
    const members = new Map<string, MemberAccess>();
    const record = { name, settings, createdAt: now, updatedAt: now, owner, members };
    new SpaceStore(sql).write(record);
    this.open();
    this.reporter.markChanged();
  }

  /**
   * The space as `GET /api/spaces/:space` shows it, if the caller may do that with it.
   *
   * @param isListed it is an entry of a list
   */
  async describe(
    caller: Caller,
    purpose: Purpose = "see",
    isListed: boolean = false,
  ): Promise<Reply> {
    this.engine?.checkWorkers();
    return this.answer(caller, purpose, (engine) => spaceBody(engine.core, caller, isListed));
  }

  /** Whether the caller may do that; the answer has no body. */
  async authorize(caller: Caller, purpose: Purpose): Promise<Reply> {
    return this.answer(caller, purpose, () => "");
  }

  /** Changes settings, or hands the space over, which only its owner may. */
  async change(caller: Caller, { owner, ...patch }: SpacePatch): Promise<Reply> {
    const purpose = owner === undefined ? "manage" : "own";
    return this.answer(caller, purpose, (engine) =>
      engine.runNow((now) => {
        engine.changeSettings(patch, now);
        if (owner !== undefined) engine.parts.members.handOver(owner, now);
        return () => spaceBody(engine.core, caller);
      }),
    );
  }

  /** Gives a space that has no owner to the first admin. */
  async adopt(owner: string): Promise<void> {
    const { engine } = this;
    if (engine === null || engine.core.record.owner !== null) return;
    engine.runNow((now) => {
      engine.parts.members.handOver(owner, now);
      return () => null;
    });
  }

  async members(caller: Caller): Promise<Reply> {
    return this.answer(caller, "manage", (engine) => engine.parts.members.list());
  }

  /** Lets a user use or manage the space. */
  async putMember(caller: Caller, user: string, access: MemberAccess): Promise<Reply> {
    return this.answer(caller, "manage", (engine) =>
      engine.runNow((now) => {
        const answer = engine.parts.members.put(user, access, now);
        return () => answer;
      }),
    );
  }

  /** Takes that back. Everybody may leave. */
  async removeMember(caller: Caller, user: string): Promise<Reply> {
    const { name } = this.ctx.id;
    const isLeaving = caller.userId === user && caller.mayManage;
    const isForThis = caller.onlySpace === null || caller.onlySpace === name;
    return this.answer(caller, isLeaving && isForThis ? "see" : "manage", (engine) =>
      engine.runNow((now) => {
        const answer = engine.parts.members.remove(user, now);
        return () => answer;
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
    const asked = this.admit(caller, "submit");
    if (!("engine" in asked)) return calls.map(() => ({ ...asked, isOfAll: true }));
    const noting = this.users.add([caller.userId, ...calls.map(({ options }) => options.user)]);
    if (noting !== null) await noting;
    // The space may have been deleted meanwhile, or the caller's rights taken back.
    const found = noting === null ? asked : this.admit(caller, "submit");
    if (!("engine" in found)) return calls.map(() => ({ ...found, isOfAll: true }));
    const { engine } = found;
    const excess = engine.parts.gate.take(caller, count);
    if (excess !== null) return calls.map(() => ({ ...excess, isOfAll: true }));
    const from = { submitter: null, caller };
    return engine.enqueue((now) => {
      const outcomes = calls.map(({ input, texts = [], files, options }) =>
        engine.parts.submissions.submit(
          { input: parseExact(input) as JsonObject, texts, files, options, ...from },
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
    return this.answerJob(
      { caller, ulid, purpose: "see" },
      (engine) => engine.parts.reads.job(ulid) ?? NO_SUCH_JOB,
    );
  }

  /** A page of the space's jobs, newest first: of all of them, or for who doesn't manage the space, of their own. */
  async jobs(caller: Caller, filter: JobFilter): Promise<Reply> {
    this.engine?.checkWorkers();
    return this.answer(caller, "list", (engine) => {
      const seesAll = accessOf(engine.core.record, caller) === "manage";
      const user = seesAll ? filter.user : (caller.userId ?? "");
      const isEmpty = !seesAll && filter.user !== undefined && filter.user !== user;
      return engine.parts.reads.page({ ...filter, user: isEmpty ? "" : user });
    });
  }

  /** The messages to a job's webhook, and how their delivery went. */
  async webhookDeliveries(caller: Caller, ulid: string): Promise<Reply> {
    this.engine?.flushIfDeferred(ulid);
    return this.answerJob(
      { caller, ulid, purpose: "see", isOwnersAlone: true },
      (engine) => engine.parts.reads.deliveries(ulid) ?? NO_SUCH_JOB,
    );
  }

  /** The secret that signs the space's webhook messages, for those who manage the space. */
  async webhookSecret(caller: Caller, renew: boolean): Promise<Reply> {
    return this.answer(caller, "manage", ({ parts: { webhooks } }) =>
      JSON.stringify({ secret: renew ? webhooks.renewSecret() : webhooks.secret() }),
    );
  }

  /** Cancels a job, and answers with it. One that has ended stays as it ended. */
  async cancel(caller: Caller, ulid: string): Promise<Reply> {
    const found = this.admitToJob({ caller, ulid, purpose: "change" });
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

  /** Shares a job by a link whose token has this hash; the link of before is void. */
  async share(caller: Caller, ulid: string, hash: string | null): Promise<Reply> {
    this.engine?.flushIfDeferred(ulid);
    return this.answerJob({ caller, ulid, purpose: "change" }, (engine) =>
      engine.runNow((now) => {
        engine.shareJob(ulid, hash, now);
        return () => "";
      }),
    );
  }

  /** Erases a job with its files; one that has not ended is canceled first. */
  async erase(caller: Caller, ulid: string): Promise<Reply> {
    this.engine?.flushIfDeferred(ulid);
    const found = this.admitToJob({ caller, ulid, purpose: "change" });
    if (!("engine" in found)) return found;
    await found.engine.eraseJob(ulid, this.env.FILES);
    return { ok: true, body: "" };
  }

  /** The ULIDs of a user's jobs, newest first; `before` is the last one of the page before, or empty. */
  async jobIdsOf(user: string, before: string, limit: number): Promise<string[]> {
    const { engine } = this;
    if (engine === null) return [];
    engine.storeDeferred();
    return engine.core.store.list({ user, before: before === "" ? undefined : before, limit });
  }

  /** Erases some of a user's jobs with their files. Returns whether there are more. */
  async eraseJobsOf(user: string): Promise<boolean> {
    const { engine } = this;
    if (engine === null) return false;
    engine.storeDeferred();
    const ulids = engine.core.store.list({ user, limit: ERASED_AT_ONCE });
    for (const ulid of ulids) await engine.eraseJob(ulid, this.env.FILES);
    this.users.forget(user);
    return ulids.length === ERASED_AT_ONCE;
  }

  /** Asks the workers to finish what they have. Each gets jobs again once it has reconnected. */
  async drain(caller: Caller, reason: string): Promise<Reply> {
    return this.answer(caller, "manage", (engine) =>
      engine.runNow(() => {
        engine.drainWorkers(reason);
        return () => spaceBody(engine.core, caller);
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

  /** The holder of sessions and keys calls this when some of them were taken back; see `reviewSockets`. */
  async review(holder: string, ended: string[]): Promise<string[]> {
    this.credentials.forget(holder);
    const { engine } = this;
    if (!engine) return [];
    return engine.runNow((now) => {
      const alive = engine.parts.subscribers.review(holder, ended, now);
      return () => alive;
    });
  }

  /** Opens a socket that the Worker has authenticated, also for a stream of server-sent events (decision 0009). */
  override async fetch(request: Request): Promise<Response> {
    const socket = readSocketRequest(request.headers, "worker", "subscriber");
    const found = this.admitSocket(socket);
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
    const noting = this.users.add([socket.caller.userId]);
    if (noting !== null) await noting;
    await engine.turnToOpen(socket.jobUlid, since);
    const refusal = await this.credentials.refusalOf(socket.caller.credential);
    if (refusal !== null) return refusal;
    // The space may have been deleted meanwhile, or the caller's rights taken back.
    const found = this.admitSocket(socket);
    if (!("engine" in found)) return found;
    if (found.engine !== engine) return noSuchSpace(this.ctx.id.name ?? "");
    const subscriber = newSubscriber(crypto.randomUUID(), socket, engine.core.record.name);
    return engine.openSubscriber(server, subscriber, since);
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
      parties: new Parties(env.SIGNING_KEY),
      mayStandStill: env.MAY_STAND_STILL === "true",
      submits: env.SUBMITS,
      jobsPerMinute: Number(env.JOBS_PER_MINUTE ?? DEFAULT_JOBS_PER_MINUTE),
      maxKeptBytes: Number(env.MAX_KEPT_MB ?? DEFAULT_KEPT_MB) * 1_048_576,
      record,
      connections,
      sendBuffer: new SendBuffer(connections),
      fileUrl: (origin, key, expiresAt) => signedFileUrl(env.SIGNING_KEY, origin, key, expiresAt),
      alarmAt: this.alarms.dueAt,
      armAlarm: (at) => this.alarms.arm(at),
      onUser: (user) => this.ctx.waitUntil(this.users.add([user]) ?? Promise.resolve()),
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

  /** Learns from the catalogue whose a space is that is older than owners. Until it has, the space is the operator's. */
  private async findOwner(): Promise<void> {
    const { engine } = this;
    if (engine === null || engine.core.spaces.isOwnerKnown()) return;
    const { name } = engine.core.record;
    try {
      const owner = await new SpaceCatalog(this.env.DB).ownerOf(name);
      engine.core.spaces.adopt(owner);
      engine.core.record = { ...engine.core.record, owner };
    } catch (error) {
      console.error("the owner of a space could not be read", error);
    }
  }

  /** The engine, if the space exists and the caller may do that with it (decision 0055). */
  private admit(caller: Caller, purpose: Purpose): { engine: SpaceEngine } | Refusal {
    const { engine } = this;
    if (!engine) return noSuchSpace(this.ctx.id.name ?? "");
    return refusalOf(engine.core.record, caller, purpose) ?? { engine };
  }

  private admitSocket(
    socket: SocketRequestOf<"worker"> | SocketRequestOf<"subscriber">,
  ): { engine: SpaceEngine } | Refusal {
    if (socket.kind === "worker") return this.admit(EDGE, "see");
    const { caller, jobUlid: ulid } = socket;
    if (ulid === null) return this.admit(caller, "watch");
    this.engine?.flushIfDeferred(ulid);
    // Whoever wants the job canceled when the socket closes must be allowed to cancel it.
    return this.admitToJob({ caller, ulid, purpose: socket.leaving ? "change" : "see" });
  }

  /** The engine, if the job exists and the caller may see or change it: no answer tells these two apart. */
  private admitToJob({ caller, ulid, ...wanted }: JobCall): { engine: SpaceEngine } | Refusal {
    const { engine } = this;
    if (!engine) return noSuchSpace(this.ctx.id.name ?? "");
    const { record, jobs } = engine.core;
    const by = wanted.isOwnersAlone ? { ...caller, share: null } : caller;
    return jobRefusalOf(record, by, jobs.rightsOf(ulid), wanted.purpose) ?? { engine };
  }

  private answer(
    caller: Caller,
    purpose: Purpose,
    make: (engine: SpaceEngine) => string | Reply,
  ): Reply {
    return answered(this.admit(caller, purpose), make);
  }

  private answerJob(call: JobCall, make: (engine: SpaceEngine) => string | Reply): Reply {
    return answered(this.admitToJob(call), make);
  }
}

interface JobCall {
  caller: Caller;
  ulid: string;
  purpose: "see" | "change";
  /** The link by which a job is shared does not open this. */
  isOwnersAlone?: boolean;
}

function answered(
  found: { engine: SpaceEngine } | Refusal,
  make: (engine: SpaceEngine) => string | Reply,
): Reply {
  if (!("engine" in found)) return found;
  const made = make(found.engine);
  return typeof made === "string" ? { ok: true, body: made } : made;
}

/** So many jobs are erased by one call: it takes a moment for each, and others wait meanwhile. */
const ERASED_AT_ONCE = 20;

const DEFAULT_JOBS_PER_MINUTE = 600;

/** A tenth of what an object may store: waiting and running jobs need room too. */
const DEFAULT_KEPT_MB = 1_024;
