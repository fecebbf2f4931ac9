import { z } from "zod";
import { closeQuietly } from "../objects/close-quietly.ts";
import {
  type Bucket,
  type FrameRate,
  lengthCost,
  spend,
  tooManyFrames,
} from "../objects/rate-limiter.ts";
import type { Refusal } from "../objects/reply.ts";
import { CLOSE } from "../protocol/codes.ts";
import { errorFrame } from "../protocol/error-frame.ts";
import { LIMITS } from "../protocol/limits.ts";
import { NO_SUCH_JOB } from "./calls.ts";
import { readMade } from "./made-frame.ts";

interface JobRelayDeps {
  id: string;
  /** How many frames the client may send. */
  rate: FrameRate;
  /** Opens the socket of the job once it is made, at this position. */
  openJob: (since: string) => Promise<WebSocket | Refusal>;
}

type Message = string | ArrayBuffer;

/** More than any client sends before it has read that its socket is closed. */
const MOST_IGNORED = 2_000;

/** How a socket is closed that the job's object refuses, by the code of the refusal. */
const CLOSES: { [code: string]: (typeof CLOSE)[keyof typeof CLOSE] } = {
  not_allowed: CLOSE.notAllowed,
  not_authenticated: CLOSE.notAuthenticated,
  rate_limited: CLOSE.tooMany,
};

/**
 * Joins a client's socket to the index while the job that it follows does not exist, and to the job's object from
 * then on. The client notices nothing: it gets the events of the job in the epoch that it was sent (B8).
 */
export class JobRelay {
  private readonly client: WebSocket;
  private readonly deps: JobRelayDeps;
  /** Where the client's messages go; `null` while the job's socket is being opened. */
  private target: WebSocket | null = null;
  /** The client's messages meanwhile. */
  private kept: Message[] = [];
  private keptLength = 0;
  private bucket: Bucket | null = null;
  /** Messages that came after the close. */
  private ignored = 0;
  /** How the index closed its socket, if it did that while the job's was being opened. */
  private waitingEnd: { code: number; reason: string } | null = null;
  private isOver = false;

  constructor(client: WebSocket, waiting: WebSocket, deps: JobRelayDeps) {
    this.client = client;
    this.deps = deps;
    client.addEventListener("message", ({ data }) => this.onClientMessage(data));
    client.addEventListener("close", ({ code, reason }) => this.onClientClose(code, reason));
    client.addEventListener("error", () => this.onClientClose(CLOSE.goingAway.code, ""));
    client.accept();
    this.attach(waiting, (message) => {
      const epoch = readMade(message);
      if (epoch === null) this.send(message);
      else if (this.target === waiting) void this.onMade(waiting, epoch);
    });
  }

  private attach(upstream: WebSocket, onMessage: (message: Message) => void): void {
    this.target = upstream;
    upstream.addEventListener("message", ({ data }) => onMessage(data));
    const onEnd = (code: number, reason: string) => {
      closeQuietly(upstream, code, reason);
      if (this.target === upstream) this.end(code, reason);
      else this.waitingEnd ??= { code, reason };
    };
    upstream.addEventListener("close", ({ code, reason }) => onEnd(code, reason));
    upstream.addEventListener("error", () => onEnd(CLOSE.restart.code, ""));
    upstream.accept();
  }

  private async onMade(waiting: WebSocket, epoch: string): Promise<void> {
    this.target = null;
    const opened = await this.deps.openJob(`${epoch}:0`).catch((error) => {
      console.error(`the job ${this.deps.id} could not be opened`, error);
      return null;
    });
    if (opened !== null && !(opened instanceof WebSocket) && opened.code === NO_SUCH_JOB.code) {
      // It could not be made after all: another one may be.
      if (this.isOver) closeQuietly(waiting, CLOSE.goingAway.code, "");
      else if (this.waitingEnd) this.end(this.waitingEnd.code, this.waitingEnd.reason);
      else this.resume(waiting);
      return;
    }
    closeQuietly(waiting, CLOSE.done.code, "");
    if (!(opened instanceof WebSocket)) this.refuse(opened);
    else if (this.isOver) discard(opened);
    else this.goOn(opened);
  }

  private goOn(job: WebSocket): void {
    // The client has been sent a `connection` with this position already.
    let isKnown = true;
    this.attach(job, (message) => {
      if (!isKnown || !isResumed(message)) this.send(message);
      isKnown = false;
    });
    this.resume(job);
  }

  /** Sends the client's messages here, those that were kept first. */
  private resume(target: WebSocket): void {
    this.target = target;
    for (const message of this.kept) sendQuietly(target, message);
    this.kept = [];
    this.keptLength = 0;
  }

  private refuse(refusal: Refusal | null): void {
    if (refusal === null) {
      this.end(CLOSE.restart.code, "");
      return;
    }
    const { code, detail } = refusal;
    this.send(JSON.stringify(errorFrame(code, detail, { job_id: this.deps.id })));
    this.end((CLOSES[code] ?? CLOSE.notFound).code, detail);
  }

  private onClientMessage(message: Message): void {
    if (this.isOver) {
      this.ignore();
      return;
    }
    // What is passed on waits in memory until the object reads it, so it must be counted here as well.
    this.bucket = spend(this.bucket, this.deps.rate, Date.now(), Math.max(1, lengthCost(message)));
    if (this.bucket === null) {
      this.refuseFlood();
      return;
    }
    if (this.target) {
      sendQuietly(this.target, message);
      return;
    }
    this.keptLength += typeof message === "string" ? message.length : message.byteLength;
    if (this.keptLength > LIMITS.frameBytes)
      this.end(CLOSE.tooMany.code, "Too many frames at once.");
    else this.kept.push(message);
  }

  /**
   * Ends the connection of a client that goes on sending after the close. A Worker can't pause like an object, and while
   * more is there to read, the runtime does nothing else; an error here makes it drop the connection (decision 0061).
   */
  private ignore(): void {
    this.ignored += 1;
    if (this.ignored < MOST_IGNORED) return;
    const error = new Error("A client went on sending after its socket was closed: it is cut off.");
    // Where it was thrown says nothing to whoever reads the log.
    error.stack = error.message;
    throw error;
  }

  private refuseFlood(): void {
    const { target, deps } = this;
    const message = tooManyFrames(deps.rate);
    this.target = null;
    if (target) closeQuietly(target, CLOSE.goingAway.code, "");
    this.send(JSON.stringify(errorFrame("rate_limited", message, { job_id: deps.id })));
    this.end(CLOSE.tooMany.code, message);
  }

  private onClientClose(code: number, reason: string): void {
    const { target } = this;
    this.isOver = true;
    this.target = null;
    if (target) closeQuietly(target, code, reason);
    closeQuietly(this.client, code, reason);
  }

  private end(code: number, reason: string): void {
    this.isOver = true;
    closeQuietly(this.client, code, reason);
  }

  private send(message: Message): void {
    if (!this.isOver) sendQuietly(this.client, message);
  }
}

/** Whether the message is a `connection` that goes on where the client is. */
function isResumed(message: Message): boolean {
  const frame = connection.safeParse(typeof message === "string" ? JSON.parse(message) : null);
  return frame.data?.recovered === true;
}

const connection = z.object({ type: z.literal("connection"), recovered: z.boolean() });

/** A socket that has just closed reports that by an event. */
function sendQuietly(socket: WebSocket, message: Message): void {
  try {
    socket.send(message);
  } catch {
    // Its close event follows.
  }
}

function discard(socket: WebSocket): void {
  socket.accept();
  closeQuietly(socket, CLOSE.goingAway.code, "");
}
