import {
  evictDurableObject,
  listDurableObjectIds,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { JWTPayload } from "jose";
import { expect, vi } from "vitest";
import { tokenOf } from "../support/tokens.ts";
import { call, expectStatus, type Frame, OPERATOR, TestSocket } from "./support.ts";

let made = 0;

/** Returns an id that no other test uses. */
export function freshId(): string {
  made += 1;
  return `job_${made}-${crypto.randomUUID().slice(0, 8)}`;
}

/** Returns the header with a token that has these claims. */
export async function bearer(claims: JWTPayload, expiresInS?: number) {
  const token = await tokenOf(env.JWT_SECRET ?? "", "ann", claims, expiresInS);
  return { authorization: `Bearer ${token}` };
}

/** Makes a job without a space and returns its id. */
export async function makeJob(body: object = {}): Promise<string> {
  const id = freshId();
  await expectStatus(201, await call("POST", "/api/jobs", { id, ...body }, OPERATOR));
  return id;
}

/** Sends a report over HTTP as the operator. */
export function report(id: string, type: string, body?: object): Promise<Response> {
  return call("POST", `/api/jobs/${id}/${type}`, body, OPERATOR);
}

/** Sends a report over HTTP as the operator; throws if the edge refuses it. */
export async function reportOk(id: string, type: string, body: object = {}): Promise<Frame> {
  return (await expectStatus(200, await report(id, type, body))).json<Frame>();
}

export async function readJob(id: string, headers: Record<string, string> = {}) {
  const response = await expectStatus(
    200,
    await call("GET", `/api/jobs/${id}`, undefined, headers),
  );
  return response.json<{ [field: string]: unknown }>();
}

/** Opens the socket of a job, without a key or a token unless `headers` has one. */
export function follow(id: string, query = "", headers: Record<string, string> = {}) {
  return TestSocket.open(`/ws/${id}${query}`, headers);
}

/** Opens the socket of a job and reads up to the end of its snapshot. */
export async function followCaughtUp(id: string, query = "", headers: Record<string, string> = {}) {
  const socket = await follow(id, query, headers);
  await socket.next("progress");
  return socket;
}

/** Returns every frame that the socket gets up to the answer to a ping that is sent now. */
export async function receiveSoFar(socket: TestSocket): Promise<Frame[]> {
  const ref = crypto.randomUUID();
  socket.send({ type: "ping", ref });
  return (await socket.until((frame) => frame.ref === ref)).slice(0, -1);
}

export function objectOf(id: string) {
  return env.JOB.getByName(id);
}

/** Whether the job has an object, which a request to `objectOf` would make. */
export async function hasObject(id: string): Promise<boolean> {
  const ids = await listDurableObjectIds(env.JOB);
  return ids.some((known) => known.equals(env.JOB.idFromName(id)));
}

/** Evicts the job's object from memory but keeps its sockets and their attachments, as hibernation does. */
export function hibernate(id: string): Promise<void> {
  return evictDurableObject(objectOf(id));
}

export function runAlarm(id: string): Promise<boolean> {
  return runDurableObjectAlarm(objectOf(id));
}

/** Sets the clock this many milliseconds ahead from now on, or from where it was set to; restore it after the test. */
export function setClockAhead(ms: number): void {
  const now = Date.now();
  vi.spyOn(Date, "now").mockReturnValue(now + ms);
}

/** When the alarm of the job's object is due, in milliseconds; `null` if none is set. */
export function alarmOf(id: string): Promise<number | null> {
  return runInDurableObject(objectOf(id), (_object, { storage }) => storage.getAlarm());
}

/** The names of the tables that the job's object has made. */
export function tablesOf(id: string): Promise<string[]> {
  return runInDurableObject(objectOf(id), (_object, { storage }) =>
    storage.sql
      .exec<{ name: string }>(
        "SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'",
      )
      .toArray()
      .map(({ name }) => name),
  );
}

export function offsetsOf(frames: Frame[]): unknown[] {
  return frames.map(({ offset }) => offset);
}

export function isOver(frame: Frame): boolean {
  return ["completed", "failed", "canceled"].includes(String(frame.status));
}

/** Expects every offset after `after`, without those that a frame's `skipped` says were left out. */
export function expectGapless(frames: Frame[], after: number): void {
  let last = after;
  for (const { offset, skipped = 0 } of frames) {
    expect(offset).toBe(last + 1 + Number(skipped));
    last = Number(offset);
  }
}

/** Sends many frames without waiting for answers, so that the edge gets them in one turn. */
export function sendBurst(
  backend: TestSocket,
  count: number,
  frame: (index: number) => object,
): void {
  for (let index = 1; index <= count; index += 1) backend.send(frame(index));
}
