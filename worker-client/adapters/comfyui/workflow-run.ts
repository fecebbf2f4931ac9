import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { WebSocket } from "ws";
import type { JsonObject } from "../../../src/protocol/codec.ts";
import { JobFailure } from "../../failure.ts";
import type { Job } from "../../job.ts";
import type { Log } from "../../log.ts";
import { ServerUnreachable } from "../local-server/local-request.ts";
import type { ComfyServer } from "./comfy-server.ts";
import { executionFailure, failureIn, interrupted } from "./failures.ts";
import {
  type ComfyMessage,
  promptOf,
  readImage,
  readMessage,
  type SocketImage,
} from "./messages.ts";
import type { WorkflowProgress } from "./progress.ts";
import { titleOf, type Workflow } from "./workflow.ts";

/** How a run can end, as the socket says. */
type RunEnd = { type: "finished" } | { type: "failed"; error: Error } | { type: "broken" };

interface RunDeps {
  server: ComfyServer;
  job: Job;
  workflow: Workflow;
  progress: WorkflowProgress;
  /** Called for each picture that comes over the socket. */
  onImage(image: SocketImage): void;
  log: Log;
}

/** How often a socket that broke is made again, and the pause before that, milliseconds. */
const RECONNECTS = 10;
const RECONNECT_MS = 500;
/** The history has a prompt shortly after its end was reported, milliseconds. */
const HISTORY_MS = 5_000;
const HISTORY_EVERY_MS = 100;
/** How long a canceled run may take to end, milliseconds. */
const CANCEL_MS = 10_000;

/** One run of a workflow: submits it, reports how far it is, and returns the outputs of its nodes. */
export class WorkflowRun {
  readonly #deps: RunDeps;
  readonly #clientId = randomUUID();
  readonly #outputs: Record<string, JsonObject> = {};
  #promptId = "";
  #hasStarted = false;
  #end: (end: RunEnd) => void = () => {};

  constructor(deps: RunDeps) {
    this.#deps = deps;
  }

  /** @returns the outputs of the nodes, by their ids */
  async run(): Promise<Record<string, JsonObject>> {
    const { server, job, workflow } = this.#deps;
    let socket = await this.#open();
    const onAbort = () => this.#end({ type: "failed", error: job.signal.reason });
    job.signal.addEventListener("abort", onAbort, { once: true });
    try {
      let ended = this.#nextEnd(socket);
      this.#promptId = await server.submit(workflow, this.#clientId);
      for (let breaks = 0; ; breaks += 1) {
        const end = await ended;
        if (end.type === "failed") throw end.error;
        if (end.type === "finished") return await this.#finish();
        const done = await this.#afterBreak(breaks);
        if (done !== null) return done;
        socket = await this.#open();
        ended = this.#nextEnd(socket);
      }
    } finally {
      job.signal.removeEventListener("abort", onAbort);
      if (job.signal.aborted && this.#promptId !== "") await this.#cancel();
      socket.terminate();
    }
  }

  #open(): Promise<WebSocket> {
    const socket = this.#deps.server.connect(this.#clientId);
    socket.on("message", (data: Buffer, isBinary) => this.#onMessage(data, isBinary));
    return new Promise((resolve, reject) => {
      socket.on("open", () => {
        // Newer versions then say which node a picture comes from.
        const flags = { supports_preview_metadata: true };
        socket.send(JSON.stringify({ type: "feature_flags", data: flags }));
        resolve(socket);
      });
      socket.on("error", (error: NodeJS.ErrnoException) => {
        reject(new ServerUnreachable(error.message, error.code === "ECONNREFUSED"));
      });
    });
  }

  #nextEnd(socket: WebSocket): Promise<RunEnd> {
    return new Promise((resolve) => {
      this.#end = resolve;
      socket.on("close", () => resolve({ type: "broken" }));
    });
  }

  /** Looks what became of the prompt; returns its outputs if it is over, `null` if it goes on. */
  async #afterBreak(breaks: number): Promise<Record<string, JsonObject> | null> {
    const { server, job, log } = this.#deps;
    log.warn(`job ${job.id}: ComfyUI's socket broke; making it again`);
    if (breaks >= RECONNECTS)
      throw new ServerUnreachable("its socket breaks again and again", false);
    await pause(RECONNECT_MS, undefined, { signal: job.signal });
    // In this order: what is over when the queue no longer has it must be in the history.
    const place = await server.place(this.#promptId, job.signal);
    if ((await server.history(this.#promptId, job.signal)) !== null) return this.#finish();
    if (place !== "gone") return null;
    throw new JobFailure("worker_error", "ComfyUI was started again, and lost the workflow.", true);
  }

  async #finish(): Promise<Record<string, JsonObject>> {
    const { server, job, workflow } = this.#deps;
    const until = performance.now() + HISTORY_MS;
    do {
      const entry = await server.history(this.#promptId, job.signal);
      if (entry !== null) {
        const failure = failureIn(entry, workflow);
        if (failure !== null) throw failure;
        return { ...this.#outputs, ...entry.outputs };
      }
      await pause(HISTORY_EVERY_MS, undefined, { signal: job.signal });
    } while (performance.now() < until);
    return this.#outputs;
  }

  /** The place is not free before the run has ended: the next job would wait behind it. */
  async #cancel(): Promise<void> {
    const { server, job, log } = this.#deps;
    try {
      await server.cancel(this.#promptId);
      const until = performance.now() + CANCEL_MS;
      while ((await server.place(this.#promptId)) !== "gone" && performance.now() < until) {
        await pause(HISTORY_EVERY_MS);
      }
    } catch (error) {
      log.warn(`job ${job.id}: it was not canceled in ComfyUI: ${String(error)}`);
    }
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (isBinary) {
      const image = readImage(data);
      // Older versions don't say whose picture it is: it is that of the prompt that runs, if this one does.
      const node = image?.node ?? this.#deps.progress.report(performance.now()).node;
      if (image !== null && this.#hasStarted) this.#deps.onImage({ ...image, node });
      return;
    }
    const message = readMessage(data.toString("utf8"));
    if (message === null) return;
    const about = promptOf(message);
    if (about !== null && this.#promptId !== "" && about !== this.#promptId) return;
    this.#onEvent(message);
  }

  #onEvent(message: ComfyMessage): void {
    const { progress, workflow } = this.#deps;
    const now = performance.now();
    switch (message.type) {
      case "status":
        this.#onQueue(message.data.status.exec_info.queue_remaining);
        return;
      case "execution_start":
        this.#hasStarted = true;
        return;
      case "execution_cached":
        progress.onCached(message.data.nodes);
        return;
      case "executing":
        this.#hasStarted = true;
        progress.onExecuting(message.data.node, now);
        if (message.data.node === null) this.#end({ type: "finished" });
        else this.#report(now);
        return;
      case "progress":
        progress.onSteps(message.data.node ?? null, message.data.value, message.data.max, now);
        this.#report(now);
        return;
      case "progress_state":
        for (const [node, { state }] of Object.entries(message.data.nodes)) {
          if (state === "finished") progress.onFinished(node);
        }
        return;
      case "executed":
        if (message.data.output) this.#outputs[message.data.node] = message.data.output;
        return;
      case "execution_success":
        this.#end({ type: "finished" });
        return;
      case "execution_error":
        this.#logError(message.data);
        this.#end({
          type: "failed",
          error: executionFailure(message.data as JsonObject, workflow),
        });
        return;
      case "execution_interrupted":
        this.#end({ type: "failed", error: interrupted() });
        return;
    }
  }

  #onQueue(remaining: number): void {
    if (this.#hasStarted || this.#promptId === "" || remaining < 2) return;
    this.#deps.job.progress(0, `Waiting for ComfyUI, which has ${remaining} workflows to do`);
  }

  #report(now: number): void {
    const { progress, workflow, job } = this.#deps;
    if (job.signal.aborted) return;
    const { percent, node, steps, remainingS } = progress.report(now);
    const title = node === null ? undefined : titleOf(workflow, node);
    const counted = steps === null || steps.max < 2 ? "" : `, step ${steps.value} of ${steps.max}`;
    job.progress(percent, title && `${title}${counted}`, remainingS);
  }

  #logError({ exception_message, traceback }: Record<string, unknown>): void {
    const trace = Array.isArray(traceback) ? traceback.join("") : "";
    this.#deps.log.error(
      `job ${this.#deps.job.id}: ${String(exception_message)}\n${trace}`.trimEnd(),
    );
  }
}
