import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { JWTPayload } from "jose";
import { vi } from "vitest";
import { hostOf } from "../../src/room/host.ts";
import { RoomStub } from "../../src/room/room-stub.ts";
import { tokenOf } from "../support/tokens.ts";
import { call, expectStatus, OPERATOR, TestSocket } from "./support.ts";

let made = 0;

/** Returns the name of a room that no other test uses. */
export function freshRoom(kind = "project"): string {
  made += 1;
  return `${kind}:${made}-${crypto.randomUUID().slice(0, 8)}`;
}

export function userToken(userId: string, claims: JWTPayload = {}, expiresInS?: number) {
  return tokenOf(env.JWT_SECRET ?? "", userId, claims, expiresInS);
}

/** Opens `/ws` as this user and waits for `connection.established`. */
export async function connectUser(userId: string, claims: JWTPayload = {}): Promise<TestSocket> {
  const token = await userToken(userId, claims);
  const socket = await TestSocket.open("/ws", { authorization: `Bearer ${token}` });
  await socket.next("connection.established");
  return socket;
}

export async function subscribe(socket: TestSocket, room: string, more: object = {}) {
  socket.send({ type: "subscribe", room, ...more });
  return socket.next((frame) => frame.type === "subscribed" && frame.room === room);
}

export async function publish(room: string, type: string, data: object = {}, id?: string) {
  const event = { type, data, ...(id === undefined ? {} : { id }) };
  const response = await call("POST", `/api/rooms/${room}/events`, event, OPERATOR);
  if (response.status !== 200) await expectStatus(201, response);
  return response.json<{ id: string; offset: number; repeated: boolean }>();
}

/** Returns the name of another user's room that is stored in the same Durable Object. */
export function neighbourOf(room: string): string {
  for (;;) {
    const other = freshRoom("user");
    if (hostOf(other) === hostOf(room)) return other;
  }
}

/** The Durable Object in which a room is stored. */
export function objectOf(room: string) {
  return env.ROOM.getByName(hostOf(room));
}

export function roomOf(room: string): RoomStub {
  return new RoomStub(env, room);
}

/** Makes every event in the room's object too old to be kept, and runs the sweep that erases them. */
export async function expireEvents(room: string): Promise<void> {
  const object = objectOf(room);
  await runInDurableObject(object, (_room, { storage }) => {
    storage.kv.put("sweep", { at: 1, after: "" });
    const tables = storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'channel_log'");
    if (tables.toArray().length === 0) return;
    storage.sql.exec("UPDATE channel_log SET at = 1 WHERE first_offset > 0");
  });
  await runDurableObjectAlarm(object);
}

/** Evicts the gateways from memory but keeps their sockets. Evicting one that never ran fails, which doesn't matter. */
export async function hibernateGateways(): Promise<void> {
  await Promise.allSettled(gateways().map((gateway) => evictDurableObject(gateway)));
}

export function gateways() {
  return [0, 1, 2, 3].map((shard) => env.GATEWAY.getByName(`local-${shard}`));
}

/**
 * Sets the clock that objects read forward, until the test calls `vi.restoreAllMocks()`, and lets the alarms of these
 * objects go off.
 */
export async function passTime(ms: number, objects: readonly DurableObjectStub[]): Promise<void> {
  const now = Date.now() + ms;
  vi.spyOn(Date, "now").mockImplementation(() => now);
  for (const object of objects) await runDurableObjectAlarm(object).catch(() => false);
}

/** Publishes to a room until it calls no gateway any more: until then the events may still be on their way. */
export async function publishUntilNobodyFollows(room: string): Promise<void> {
  await vi.waitUntil(
    async () => {
      await publish(room, "step.done", { n: 1 });
      return runInDurableObject(objectOf(room), (_room, { storage }) => {
        return [...storage.kv.list({ prefix: "gateway:" })].length === 0;
      });
    },
    { timeout: 10_000 },
  );
}
