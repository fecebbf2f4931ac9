import { transferMs } from "../src/protocol/announcement.ts";
import type { Decoded } from "../src/protocol/codec.ts";
import type { WorkerFrameInput } from "../src/protocol/worker-frames.ts";
import { byteLength } from "./byte-length.ts";
import { DrainTimer } from "./drain-timer.ts";
import { type Heartbeat, startHeartbeat } from "./heartbeat.ts";
import { handleJobFrame } from "./job-frames.ts";
import { Jobs } from "./jobs.ts";
import { dial, type EdgeLink } from "./link.ts";
import { type Log, SILENT } from "./log.ts";
import { OutageLog } from "./outage-log.ts";
import { PlaceWait } from "./place-wait.ts";
import type { Platform } from "./platform.ts";
import { type ReceivedFrame, readFrames } from "./received-frames.ts";
import type { WorkerRefused } from "./refusal.ts";
import {
  checkHello,
  type HelloFrame,
  type RegisteredFrame,
  type SessionEffect,
  step,
  type WakeReason,
  type WorkerSession,
} from "./session.ts";
import type { Statistics } from "./statistics.ts";
import { checkOptions, defaultWorkerId, type RemoteWorkerOptions } from "./worker-options.ts";
import { StateReporter, type WorkerState } from "./worker-state.ts";

/** The longest time from the open socket to `registered`. */
const HANDSHAKE_MS = 15_000;
/** A worker that drains has little time, so it looks more often whether its connection is dead; seconds. */
const DRAIN_HEARTBEAT_S = 2;
const DRAIN_LEASE_S = 8;
/** A worker that wakes up dials at once, but not more often than this, milliseconds (W31). */
const WAKE_PAUSE_MS = 1_000;

/**
 * Dials out to an edge and serves one space until it is drained, stopped or refused. Every
 * event becomes a `WakeReason`; `step` decides what it means, and this class performs the effects. What it needs of
 * Node.js or of a page is its `Platform`.
 */
export class WorkerCore {
  readonly id: string;
  readonly #options: RemoteWorkerOptions;
  readonly #platform: Platform;
  readonly #log: Log;
  readonly #outages: OutageLog;
  readonly #jobs: Jobs;
  readonly #placeWait: PlaceWait;
  readonly #states: StateReporter;
  readonly #traffic = { bytesIn: 0, bytesOut: 0 };
  readonly #startedAt = performance.now();
  readonly #ended: Promise<void>;
  #finishRun: (refusal: WorkerRefused | null) => void = () => {};
  readonly #reasons: WakeReason[] = [];
  #reconciling = false;
  #session: WorkerSession = { phase: "waiting", failures: 0 };
  #link: EdgeLink | null = null;
  #heartbeat: Heartbeat | null = null;
  #cancelTimer: () => void = () => {};
  #dialedAt = Number.NEGATIVE_INFINITY;
  #drainReason: string | null = null;
  readonly #drainTimer: DrainTimer;
  #registrations = 0;
  #load = 0;
  /** Called at the next message of the edge. */
  readonly #listening: (() => void)[] = [];

  /** @throws {InvalidOptions} */
  constructor(options: RemoteWorkerOptions, platform: Platform) {
    checkOptions(options);
    this.#options = options;
    this.#platform = platform;
    this.#states = new StateReporter(options.onState);
    this.#log = options.log ?? SILENT;
    this.#outages = new OutageLog(this.#log);
    this.#placeWait = new PlaceWait(this.#log);
    this.id = options.workerId ?? defaultWorkerId();
    this.#ended = new Promise((resolve, reject) => {
      this.#finishRun = (refusal) => (refusal === null ? resolve() : reject(refusal));
    });
    this.#jobs = new Jobs({
      platform,
      concurrency: options.concurrency ?? 1,
      handler: options.handler,
      edgeUrl: options.url,
      log: this.#log,
      send: (text) => {
        if (this.#session.phase === "registered") this.#link?.send(text);
      },
      hearEdge: () => this.#hearEdge(),
      onChange: () => this.#reportState(),
      onEmpty: () => this.#leaveIfDrained(),
    });
    this.#drainTimer = new DrainTimer({
      log: this.#log,
      unacknowledged: () => this.#jobs.unacknowledged,
      stop: () => this.stop(),
    });
  }

  /** Resolves after a drain or a stop. @throws {WorkerRefused} if the edge refuses this worker for good */
  run(): Promise<void> {
    this.#wake({ type: "started" });
    return this.#ended;
  }

  /**
   * Takes no new jobs, finishes the running ones, waits for their acknowledgements, then ends. What is not
   * finished after `timeoutMs` milliseconds is given up, as by `stop`; if something is finished and only not
   * acknowledged, after twice that time.
   */
  drain(reason = "shutting down", timeoutMs = 30_000): Promise<void> {
    if (this.#drainReason === null) {
      // The edge takes no longer one (W28).
      this.#drainReason = reason.slice(0, 2_000);
      this.#jobs.rejectNew(`draining: ${reason}`);
      this.#log.info(`draining (${reason}): jobs to finish: ${this.#jobs.size}`);
      if (this.#session.phase === "registered") {
        this.#send({ type: "drain", reason: this.#drainReason });
        this.#startHeartbeat(this.#session.hello);
      }
      this.#reportState();
      this.#leaveIfDrained();
    }
    if (this.#session.phase !== "ended") this.#drainTimer.start(timeoutMs);
    return this.#ended;
  }

  /**
   * Reports how busy this machine is with everything that runs on it, from 0 to 1. The least busy of the free
   * workers gets the next job (W33a).
   */
  reportLoad(load: number): void {
    if (!Number.isFinite(load)) throw new TypeError(`A load is a number from 0 to 1, not ${load}.`);
    this.#load = Math.min(1, Math.max(0, load));
    if (this.#session.phase === "registered") this.#send({ type: "load", load: this.#load });
  }

  /** Ends now. Running handlers are aborted, and their jobs go back to the queue at once. */
  stop(): void {
    this.#jobs.stop();
    this.#wake({ type: "leave" });
  }

  /**
   * To be called when the machine may have slept or changed its network: a worker that waits to dial again does so at
   * once, and one that is connected finds out within 5 seconds whether its connection still works.
   */
  wakeUp(): void {
    if (this.#session.phase === "registered") this.#heartbeat?.doubt();
    else if (performance.now() - this.#dialedAt >= WAKE_PAUSE_MS) this.#wake({ type: "retry_due" });
  }

  get state(): WorkerState {
    return this.#states.current;
  }

  statistics(): Statistics {
    return {
      jobs: this.#jobs.counts,
      reconnects: Math.max(0, this.#registrations - 1),
      ...this.#traffic,
      uptimeS: (performance.now() - this.#startedAt) / 1_000,
      busyS: this.#jobs.busyS,
    };
  }

  #leaveIfDrained(): void {
    if (this.#drainReason !== null && this.#jobs.size === 0) this.#wake({ type: "leave" });
  }

  #wake(reason: WakeReason): void {
    this.#reasons.push(reason);
    if (this.#reconciling) return;
    this.#reconciling = true;
    try {
      for (let next = this.#reasons.shift(); next !== undefined; next = this.#reasons.shift()) {
        const random = (this.#options.random ?? Math.random)();
        const { session, effects } = step(this.#session, next, random, this.#options.backoff);
        this.#session = session;
        for (const effect of effects) this.#perform(effect);
      }
    } finally {
      this.#reconciling = false;
    }
    this.#reportState();
  }

  #reportState(): void {
    const { phase } = this.#session;
    // An end is reported with its reason when it is performed.
    if (phase === "ended") return;
    const jobs = this.#jobs.size;
    if (phase !== "registered" && phase !== "leaving") this.#states.onConnecting(jobs);
    else this.#states.report({ phase: this.#drainReason === null ? "serving" : "draining", jobs });
  }

  #perform(effect: SessionEffect): void {
    switch (effect.type) {
      case "dial":
        this.#dial();
        return;
      case "register":
        this.#register();
        return;
      case "resume":
        this.#resume(effect.hello, effect.registered);
        return;
      case "terminate":
        this.#outages.onProblem(`dropping this connection: ${effect.why}`);
        this.#link?.terminate();
        return;
      case "close":
        this.#link?.close(effect.code);
        return;
      case "retry_in":
        this.#states.onProblem(effect.why);
        this.#outages.onProblem(
          effect.why,
          `; trying again in ${(effect.ms / 1_000).toFixed(1)} s, and so on until it works`,
        );
        this.#setTimer(effect.ms, { type: "retry_due" });
        return;
      case "wait_for_place":
        this.#states.onProblem(effect.why);
        this.#placeWait.report(effect, performance.now());
        this.#setTimer(effect.ms, { type: "retry_due" });
        return;
      case "end":
        this.#end(effect.refusal);
        return;
    }
  }

  #dial(): void {
    const { url, space, token } = this.#options;
    this.#log.debug(`dialing ${url} for the space ${space}`);
    this.#dialedAt = performance.now();
    this.#link = dial({ url, space, token }, this.#platform, this.#traffic, {
      onOpen: (edgeTime) => {
        if (edgeTime !== null) this.#jobs.setEdgeTime(edgeTime);
        this.#wake({ type: "opened" });
        this.#awaitRegistration(HANDSHAKE_MS);
      },
      onMessage: (data) => this.#onMessage(data),
      onError: ({ code, message }) =>
        this.#outages.onComplaint(`the edge says: ${message} (${code})`),
      onClose: (close) => {
        this.#disconnect();
        this.#wake({ type: "closed", close, waits: this.#options.waitForPlace ?? false });
      },
    });
  }

  #awaitRegistration(ms: number): void {
    this.#setTimer(ms, { type: "unusable", why: "the edge took too long to register this worker" });
  }

  #disconnect(): void {
    this.#link = null;
    this.#jobs.onDisconnect();
    this.#heartbeat?.stop();
    this.#heartbeat = null;
    this.#cancelTimer();
  }

  #register(): void {
    const { name, version, capabilities, concurrency, schema } = this.#options;
    const text = JSON.stringify({
      type: "register",
      worker_id: this.id,
      name,
      version,
      concurrency: concurrency ?? 1,
      capabilities,
      resume: this.#jobs.resumable,
      sends_files: true,
      schema,
    } satisfies WorkerFrameInput);
    this.#link?.send(text);
    // With many attempts it is large, and takes its time on a slow link.
    this.#awaitRegistration(HANDSHAKE_MS + transferMs(byteLength(text)));
  }

  #resume(hello: HelloFrame, registered: RegisteredFrame): void {
    this.#cancelTimer();
    this.#placeWait.end();
    this.#registrations += 1;
    this.#startHeartbeat(hello);
    const { resumed, dropped } = registered;
    this.#outages.onConnected(
      `connected: serving the space ${hello.space} as ${this.id}` +
        (this.#registrations > 1 ? `, ${resumed.length} resumed, ${dropped.length} dropped` : ""),
    );
    if (this.#drainReason !== null) this.#send({ type: "drain", reason: this.#drainReason });
    if (this.#load > 0) this.#send({ type: "load", load: this.#load });
    this.#jobs.resume(registered, hello.max_frame_bytes);
  }

  #startHeartbeat(hello: HelloFrame): void {
    this.#heartbeat?.stop();
    const isDraining = this.#drainReason !== null;
    this.#heartbeat = startHeartbeat({
      platform: this.#platform,
      heartbeatS: isDraining ? Math.min(DRAIN_HEARTBEAT_S, hello.heartbeat_s) : hello.heartbeat_s,
      leaseS: isDraining ? Math.min(DRAIN_LEASE_S, hello.lease_s) : hello.lease_s,
      ping: () => this.#link?.ping(),
      bytesReceived: () => this.#link?.bytesReceived ?? 0,
      busyUntil: () => this.#link?.busyUntil ?? 0,
      onSilence: (silentS) => {
        const why = `no message from the edge for ${silentS.toFixed(0)} s`;
        this.#wake({ type: "unusable", why });
      },
    });
  }

  /** Resolves with the next message of the edge, on whatever connection. */
  #hearEdge(): Promise<void> {
    this.#link?.ping();
    return new Promise((resolve) => this.#listening.push(resolve));
  }

  #onMessage(data: string | ArrayBuffer): void {
    this.#heartbeat?.onReceived();
    for (const hear of this.#listening.splice(0)) hear();
    if (data === "pong") return;
    for (const decoded of readFrames(data)) this.#onDecoded(decoded);
  }

  #onDecoded(decoded: Decoded<ReceivedFrame>): void {
    if (decoded.ok) {
      this.#onFrame(decoded.frame);
      return;
    }
    const words = `ignored a message from the edge: ${decoded.message}`;
    if (decoded.code === "unknown_frame") this.#log.debug(words);
    else this.#log.warn(words);
  }

  #onFrame(frame: ReceivedFrame): void {
    switch (frame.type) {
      case "hello":
        this.#link?.onHello(frame);
        this.#wake(checkHello(frame));
        return;
      case "registered":
        this.#wake({ type: "registered", registered: frame });
        return;
      case "error":
        this.#link?.onErrorFrame(frame);
        this.#jobs.onError(frame);
        return;
      case "drain":
        this.#log.info(`the edge sends no new jobs: ${frame.reason}`);
        return;
      case "sending":
        this.#link?.onAnnounce(frame.bytes);
        return;
      case "config":
        this.#log.debug("the settings of the space have changed");
        return;
      default:
        if (this.#session.phase !== "registered") {
          this.#log.warn(`ignored ${frame.type}: not registered`);
          return;
        }
        handleJobFrame(this.#jobs, frame);
        return;
    }
  }

  #end(refusal: WorkerRefused | null): void {
    this.#disconnect();
    this.#drainTimer.clear();
    this.#jobs.stop();
    this.#states.report({ phase: "ended", refusal });
    this.#finishRun(refusal);
  }

  #send(frame: WorkerFrameInput): void {
    this.#link?.send(JSON.stringify(frame));
  }

  #setTimer(ms: number, reason: WakeReason): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#platform.after(ms, () => this.#wake(reason));
  }
}
