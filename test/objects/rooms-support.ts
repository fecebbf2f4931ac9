import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { JWTPayload } from "jose";
import { tokenOf } from "../support/tokens.ts";
import { call, expectStatus, OPERATOR, TestSocket } from "./support.ts";

let made = 0;

/** A room of its own for a test. */
export function freshRoom(kind = "project"): string {
  made += 1;
  return `${kind}:${made}-${crypto.randomUUID().slice(0, 8)}`;
}

export function userToken(userId: string, claims: JWTPayload = {}, expiresInS?: number) {
  return tokenOf(env.JWT_SECRET ?? "", userId, claims, expiresInS);
}

/** A socket of `/ws` that is ready. */
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

/** The object of a room, or the gateways there may be. */
export function roomOf(room: string) {
  return env.ROOM.getByName(room);
}

/** The gateways lose their memory, and keep their sockets; some of them may never have run. */
export async function sleepGateways(): Promise<void> {
  await Promise.allSettled(gateways().map((gateway) => evictDurableObject(gateway)));
}

export function gateways() {
  return [0, 1, 2, 3].map((shard) => env.GATEWAY.getByName(`local-${shard}`));
}
