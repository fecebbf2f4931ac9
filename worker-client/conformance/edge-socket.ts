import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import type { RawData, WebSocket } from "ws";
import { decodeFrames, type Json, type JsonObject } from "../../src/protocol/codec.ts";
import { type EdgeFrame, type JobFrame, workerFrame } from "../../src/protocol/worker-frames.ts";
import {
  type AttemptRef,
  type HelloFrame,
  helloOf,
  isAbout,
  jobOf,
  type RegisteredFrame,
  refOf,
  registeredOf,
} from "./frames.ts";
import { RULE_OF_FRAME, type RuleId } from "./rules.ts";
import { Broken } from "./verdicts.ts";

/** A frame of the worker, as it stood in the message. */
export type ReceivedFrame = JsonObject & { type: string };
type Match = (frame: ReceivedFrame) => boolean;

export interface EdgeSocketDeps {
  request: IncomingMessage;
  /** The connection below the WebSocket. */
  raw: Duplex;
  /** A rule was broken by the way, whatever the scenario is about. */
  onBroken(rule: RuleId, why: string): void;
  /** How long something that must come is waited for, milliseconds. */
  patienceMs: number;
}

/** Frames of an attempt may be under way when its `stale` is sent, milliseconds. */
const UNDER_WAY_MS = 700;
const ENDS = ["result", "fail", "reject"];
const READ_CHECK = "read_check";

/** The edge's end of one worker's socket. It keeps every frame, and sends only what a scenario says, and pongs. */
export class EdgeSocket {
  readonly frames: ReceivedFrame[] = [];
  readonly pings: number[] = [];
  /** Bytes of the message that each frame came in. */
  readonly sizes = new Map<ReceivedFrame, number>();
  /** Bytes received, pings left out. */
  receivedBytes = 0;
  readonly closed: Promise<number>;
  answersPings = true;
  closeCode: number | null = null;
  readonly path: string;
  readonly #deps: EdgeSocketDeps;
  readonly #socket: WebSocket;
  readonly #ended = new Set<string>();
  /** Attempts that the worker must have forgotten, and since when. */
  readonly #gone = new Map<string, number>();
  #hello: HelloFrame = helloOf();
  #wake: () => void = () => {};

  constructor(socket: WebSocket, deps: EdgeSocketDeps) {
    this.#socket = socket;
    this.#deps = deps;
    this.path = deps.request.url ?? "";
    this.closed = new Promise((resolve) => {
      socket.on("close", (code) => {
        this.closeCode = code;
        this.#wake();
        resolve(code);
      });
    });
    socket.on("message", (data, isBinary) => this.#onMessage(data, isBinary));
    socket.on("error", () => {});
  }

  get asksForBatches(): boolean {
    return new URL(this.path, "http://edge").searchParams.get("batch") === "1";
  }

  send(frame: EdgeFrame | HelloFrame | RegisteredFrame | JsonObject): void {
    this.sendText(JSON.stringify(frame));
  }

  sendText(text: string): void {
    this.#socket.send(text);
  }

  sendBytes(bytes: Uint8Array): void {
    this.#socket.send(bytes);
  }

  /** Sends a message so slowly that a part of it comes every 200 ms; nothing else can be sent meanwhile. */
  async trickle(text: string, seconds: number): Promise<void> {
    const body = Buffer.from(text);
    const head = Buffer.alloc(10);
    head.set([0x81, 127]);
    head.writeBigUInt64BE(BigInt(body.length), 2);
    this.#deps.raw.write(head);
    const piece = Math.ceil(body.length / (seconds * 5));
    for (let at = 0; at < body.length && this.closeCode === null; at += piece) {
      await pause(200);
      this.#deps.raw.write(body.subarray(at, at + piece));
    }
  }

  hello(fields: Partial<HelloFrame> = {}): void {
    this.#hello = helloOf(fields);
    this.send(this.#hello);
  }

  /** Does the whole handshake, and returns the worker's `register`. */
  async welcome(
    hello: Partial<HelloFrame> = {},
    registered: Partial<RegisteredFrame> = {},
  ): Promise<ReceivedFrame> {
    this.hello(hello);
    const register = await this.next("register", "W6");
    this.send(registeredOf(registered));
    return register;
  }

  dispatch(input: JsonObject, fields: Partial<JobFrame> & JsonObject = {}): JobFrame {
    const job = jobOf(input, fields);
    this.send(job);
    return job;
  }

  ack(ref: AttemptRef, end: ReceivedFrame): void {
    this.send({ type: "ack", ...refOf(ref), of: end.type });
  }

  stale(ref: AttemptRef): void {
    this.send({ type: "stale", ...refOf(ref) });
    this.mustBeGone(ref);
  }

  /** From now on nothing may come about the attempt any more. */
  mustBeGone(ref: AttemptRef): void {
    this.#gone.set(keyOf(ref), Date.now());
  }

  pong(): void {
    this.sendText("pong");
  }

  /** @param code without one, a close frame without a code is sent */
  close(code?: number, reason = ""): void {
    if (code === undefined) this.#socket.close();
    else this.#socket.close(code, reason);
  }

  /** Cuts the connection without a closing handshake, like a pulled cable. */
  drop(): void {
    this.#socket.terminate();
  }

  about(ref: AttemptRef): ReceivedFrame[] {
    return this.frames.filter((frame) => isAbout(frame, ref));
  }

  /** The deltas of the attempt's outputs on this connection. */
  deltas(ref: AttemptRef): Json[] {
    return this.about(ref)
      .filter(({ type }) => type === "output")
      .map(({ delta }) => delta ?? null);
  }

  next(type: string, rule: RuleId, ms?: number): Promise<ReceivedFrame> {
    return this.until((frame) => frame.type === type, rule, `a \`${type}\``, ms);
  }

  /** The next frame of this type about the attempt. */
  nextAbout(ref: AttemptRef, type: string, rule: RuleId, ms?: number): Promise<ReceivedFrame> {
    const match: Match = (frame) => frame.type === type && isAbout(frame, ref);
    return this.until(match, rule, `a \`${type}\` about the job`, ms);
  }

  /** The end of an attempt. */
  end(ref: AttemptRef, rule: RuleId, ms?: number): Promise<ReceivedFrame> {
    const match: Match = (frame) => ENDS.includes(frame.type) && isAbout(frame, ref);
    return this.until(match, rule, "the end of the job", ms);
  }

  /**
   * Waits until a frame has come that fits, also one that came before.
   *
   * @throws {Broken} the rule, if it doesn't come in time or the worker closes
   */
  async until(match: Match, rule: RuleId, what: string, ms?: number): Promise<ReceivedFrame> {
    const found = () => this.frames.find(match);
    await this.untilTrue(() => found() !== undefined || this.closeCode !== null, ms);
    const frame = found();
    if (frame !== undefined) return frame;
    if (this.closeCode !== null) {
      throw new Broken(rule, `the connection ended with ${this.closeCode} instead of ${what}`);
    }
    const seconds = (ms ?? this.#deps.patienceMs) / 1_000;
    throw new Broken(rule, `${what} did not come within ${seconds} s${this.#lately()}`);
  }

  /** Resolves when the condition holds, the connection has ended, or the time is over. */
  async untilTrue(condition: () => boolean, ms = this.#deps.patienceMs): Promise<boolean> {
    const until = Date.now() + ms;
    while (!condition() && this.closeCode === null && Date.now() < until) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, until - Date.now()));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return condition();
  }

  #lately(): string {
    const types = this.frames.slice(-3).map(({ type }) => `\`${type}\``);
    return types.length === 0 ? "" : `; the last frames were ${types.join(", ")}`;
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    const text = data.toString();
    if (isBinary) this.#deps.onBroken("C3", "a binary message was sent");
    else if (text === "ping") this.#onPing();
    else if (text !== "pong") this.#onText(text);
    this.#wake();
  }

  #onPing(): void {
    this.pings.push(Date.now());
    if (this.answersPings && this.#socket.readyState === this.#socket.OPEN) this.pong();
  }

  #onText(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.receivedBytes += bytes;
    if (bytes > this.#hello.max_frame_bytes) {
      const most = this.#hello.max_frame_bytes;
      this.#deps.onBroken("C3", `a message of ${bytes} bytes was sent; the edge takes ${most}`);
    }
    const isBatch = text.startsWith('{"type":"batch"') || typeOf(text) === "batch";
    if (isBatch && !(this.asksForBatches && this.#hello.batch)) {
      this.#deps.onBroken("C6a", "a batch was sent although `hello` said `batch: false`");
    }
    for (const raw of framesIn(text)) this.#onFrame(raw, bytes);
  }

  #onFrame(raw: Json, bytes: number): void {
    const frame = checkedFrame(raw, this.#deps.onBroken);
    if (frame === null) return;
    this.#watchOrder(frame);
    this.frames.push(frame);
    this.sizes.set(frame, bytes);
  }

  /** The rules about the order of frames hold in every scenario. */
  #watchOrder(frame: ReceivedFrame): void {
    const { onBroken } = this.#deps;
    const isFirst = this.frames.length === 0;
    if (isFirst && frame.type !== "register" && frame.type !== "sending") {
      onBroken("W6", `the first frame was \`${frame.type}\``);
    }
    if (typeof frame.job_id !== "string" || typeof frame.attempt !== "number") return;
    const key = keyOf({ job_id: frame.job_id, attempt: frame.attempt });
    const goneAt = this.#gone.get(key);
    if (goneAt !== undefined && Date.now() - goneAt > UNDER_WAY_MS) {
      onBroken("W22", `\`${frame.type}\` came about an attempt that the edge had taken back`);
    }
    const isEnd = ENDS.includes(frame.type);
    if (this.#ended.has(key) && (isEnd || frame.type === "output")) {
      onBroken("W21", `\`${frame.type}\` came after the attempt's end`);
    }
    if (isEnd) this.#ended.add(key);
  }
}

function keyOf({ job_id, attempt }: AttemptRef): string {
  return `${job_id}#${attempt}`;
}

function typeOf(text: string): Json | undefined {
  try {
    return (JSON.parse(text) as JsonObject | null)?.type;
  } catch {
    return undefined;
  }
}

/** The frames of a message; a message that isn't JSON is returned as it is. */
function framesIn(text: string): Json[] {
  try {
    const value: Json = JSON.parse(text);
    const isBatch = typeof value === "object" && value !== null && !Array.isArray(value);
    return isBatch && value.type === "batch" && Array.isArray(value.frames)
      ? value.frames
      : [value];
  } catch {
    return [text];
  }
}

/** Decodes a frame as an edge does, and reports what is wrong with it. */
function checkedFrame(
  raw: Json,
  onBroken: (rule: RuleId, why: string) => void,
): ReceivedFrame | null {
  const [decoded] = decodeFrames(JSON.stringify(raw), workerFrame);
  const isObject = typeof raw === "object" && raw !== null && !Array.isArray(raw);
  const type = isObject && typeof raw.type === "string" ? raw.type : null;
  if (!isObject || type === null) {
    onBroken("C3", `no frame: ${JSON.stringify(raw).slice(0, 200)}`);
    return null;
  }
  const frame: ReceivedFrame = { ...raw, type };
  const isNewer = type === READ_CHECK || (type === "output" && typeof raw.file === "string");
  if (decoded?.ok || isNewer) return frame;
  const rule = RULE_OF_FRAME[type] ?? "C3";
  onBroken(rule, `\`${type}\` is not as it must be: ${decoded?.message ?? "unknown"}`);
  return null;
}
