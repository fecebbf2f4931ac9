import { afterEach, describe, expect, it, vi } from "vitest";
import { connectUser, gateways, passTime, userToken } from "./rooms-support.ts";

const HOUR_MS = 3_600_000;

afterEach(() => {
  vi.restoreAllMocks();
});

/** In a file of its own, because the clock is moved for every socket of every gateway. */
describe("a socket of /ws", () => {
  it("gets a warning before its token expires, and stays open with a fresh token of the same user (R11, R11a)", async () => {
    const socket = await connectUser("kim");
    await passTime(HOUR_MS - 30_000, gateways());
    await socket.next("connection.expiring");
    socket.send({ type: "authenticate", token: await userToken("mallory"), ref: 1 });
    expect(await socket.next("error")).toMatchObject({ code: "not_allowed", ref: 1 });
    socket.send({ type: "authenticate", token: await userToken("kim"), ref: 2 });
    expect(await socket.next("authenticated")).toMatchObject({ user_id: "kim", ref: 2 });
    await passTime(30_000, gateways());
    socket.send({ type: "ping" });
    expect((await socket.until("pong")).map(({ type }) => type)).toEqual(["pong"]);
  });

  it("is closed with 4401 when its token has expired (R11)", async () => {
    const socket = await connectUser("leo");
    await passTime(HOUR_MS, gateways());
    expect(await socket.next("connection.error")).toMatchObject({ code: "not_authenticated" });
    expect(await socket.closed).toMatchObject({ code: 4401 });
  });
});
