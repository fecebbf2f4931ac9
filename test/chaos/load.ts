import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { decodeFrames } from "../../src/protocol/codec.ts";
import { type JobResource, jobResource } from "../../src/protocol/resources.ts";
import { type ServerFrame, serverFrame } from "../../src/protocol/subscriber-frames.ts";
import { OPERATOR_KEY } from "../support/bare-edge.ts";
import type { History } from "./history.ts";

/** From 0 up to 1. */
export type Random = () => number;

const FOLLOWED_SHARE = 0.5;
const RETRY_MS = 50;
/** Of every ROUND jobs the first are quick, so that the edge defers storing them (decision 0030). */
const ROUND = 400;
const QUICK_OF_ROUND = 80;
const QUICK = { ms: 4, pieces: 1 };
const SLOW = { ms: 60, pieces: 4 };

/** Submits and follows jobs, retrying while the edge is down, and records what it observes. */
export class Load {
  readonly history: History = { accepted: [], ends: [], received: [], final: new Map() };
  private readonly url: string;
  private readonly space: string;
  private readonly random: Random;
  private readonly following = new Set<Promise<void>>();
  /** Number of followers' connections that resumed after an earlier one was cut. */
  resumed = 0;
  private submitted = 0;
  private open = true;

  constructor(url: string, space: string, random: Random) {
    this.url = url;
    this.space = space;
    this.random = random;
  }

  /** Submits one job after the other until `close`. */
  async submit(): Promise<void> {
    while (this.open) {
      const { random } = this;
      const n = this.submitted++;
      const { ms, pieces } = n % ROUND < QUICK_OF_ROUND ? QUICK : SLOW;
      const work = { n, ms: random() * ms, pieces: Math.floor(random() * (pieces + 1)) };
      const priority = Math.floor(random() * 3);
      const response = await this.post({ input: work, priority });
      if (response === null) await sleep(RETRY_MS);
      else {
        const { id } = jobResource.parse(response);
        this.history.accepted.push({ id, priority, work });
        if (random() < FOLLOWED_SHARE) this.follow(id);
      }
      await sleep(random() * 20);
    }
  }

  /** Stops submitting; resolves once every accepted job has ended and was read. */
  async close(): Promise<void> {
    this.open = false;
    for (const { id } of this.history.accepted) this.history.final.set(id, await this.ended(id));
    await Promise.all(this.following);
  }

  private async post(body: object): Promise<unknown> {
    try {
      const response = await fetch(`${this.url}/api/spaces/${this.space}/jobs`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${OPERATOR_KEY}` },
        body: JSON.stringify(body),
      });
      return response.status === 202 ? await response.json() : null;
    } catch {
      return null; // The job may have been accepted or not; without an answer nothing was guaranteed.
    }
  }

  private async ended(id: string): Promise<JobResource> {
    for (;;) {
      const response = await fetch(`${this.url}/api/jobs/${id}`).catch(() => null);
      if (response?.ok) {
        const job = jobResource.parse(await response.json());
        if (job.completed_at !== null) return job;
      }
      await sleep(RETRY_MS);
    }
  }

  private follow(id: string): void {
    const done = this.followToEnd(id).finally(() => this.following.delete(done));
    this.following.add(done);
  }

  /** Follows a job to its end, dialing again from the last position after each break. */
  private async followToEnd(id: string): Promise<void> {
    let since = "";
    // Every second follower reads batches.
    const batch = this.following.size % 2 === 0 ? "1" : "0";
    for (let ended = false; !ended; await sleep(ended ? 0 : RETRY_MS)) {
      let epoch = "";
      let recovered = false;
      const query = new URLSearchParams(since === "" ? { batch } : { batch, since });
      await this.listen(`/api/jobs/${id}/ws?${query}`, (frame) => {
        if (frame.type === "connection") {
          ({ epoch, recovered } = frame);
          if (since !== "" && recovered) this.resumed += 1;
        }
        if (frame.type !== "output" && frame.type !== "progress") return;
        // A snapshot starts a new sequence: its event does not continue the offsets received before.
        const isSnapshot = !recovered && frame.type === "progress";
        if (recovered || isSnapshot)
          this.history.received.push({ id, offset: frame.offset, recovered });
        if (isSnapshot) recovered = true;
        if (recovered) since = `${epoch}:${frame.offset}`;
        if (frame.type === "progress" && frame.status === "completed") {
          ended = true;
          this.history.ends.push({ id, status: frame.status, result: frame.result });
        }
      });
    }
  }

  private listen(path: string, receive: (frame: ServerFrame) => void): Promise<void> {
    const socket = new WebSocket(this.url.replace("http", "ws") + path);
    socket.on("message", (data) => {
      // A large message follows (C17).
      if (String(data).startsWith('{"type":"sending"')) return;
      for (const frame of decodeFrames<ServerFrame>(String(data), serverFrame)) {
        if (!frame.ok) throw new Error(frame.message);
        receive(frame.frame);
      }
    });
    return new Promise((resolve) => {
      socket.once("close", resolve).once("error", resolve);
    });
  }
}
