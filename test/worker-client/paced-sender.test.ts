import { describe, expect, test } from "vitest";
import { PacedSender } from "../../worker-client/paced-sender.ts";

const WINDOW = 65_536;

function senderOf(unannounced: number | null = WINDOW) {
  const written: string[] = [];
  const clock = { now: 1_000 };
  const sender = new PacedSender({
    write: (message) => written.push(message),
    unannouncedBytes: () => unannounced,
    now: () => clock.now,
  });
  const count = (type: string) => written.filter((message) => message.startsWith(type)).length;
  return { sender, written, clock, count };
}

const PIECE = "x".repeat(1_024);

describe("what a worker sends", () => {
  test("waits while so much is under way that no pong can come in time (W34b)", () => {
    const { sender, count } = senderOf();
    for (let piece = 0; piece < 100; piece += 1) sender.send(PIECE);
    expect(count("x")).toBe(64);
    expect(count("ping")).toBe(2);
    expect(sender.waitingBytes).toBe(36 * 1_024);
    sender.onPong();
    expect(count("x")).toBeGreaterThan(64);
  });

  test("comes out whole and in its order, however slowly it is answered (W34b)", () => {
    const { sender, written, clock } = senderOf();
    const sent = Array.from({ length: 1_000 }, (_, number) => `${number} ${PIECE}`);
    for (const message of sent) sender.send(message);
    for (let answers = 0; answers < 100; answers += 1) {
      clock.now += answers % 2 === 0 ? 10_000 : 10;
      sender.onPong();
    }
    expect(written.filter((message) => message !== "ping")).toEqual(sent);
  });

  test("may be under way in larger amounts where pongs come quickly, and in smaller ones again where they don't (W34b)", () => {
    const { sender, clock } = senderOf();
    sender.ping();
    sender.onPong();
    expect(sender.window).toBe(WINDOW);
    sender.send("x".repeat(WINDOW / 2));
    sender.onPong();
    expect(sender.window).toBe(2 * WINDOW);
    sender.ping();
    clock.now += 6_000;
    sender.onPong();
    expect(sender.window).toBe(WINDOW);
  });

  test("is announced if it is large, and keeps the connection from counting as dead (W34)", () => {
    const { sender, written, clock } = senderOf();
    sender.send("y".repeat(409_600));
    expect(written[0]).toBe('{"type":"sending","bytes":409600}');
    expect(written[1]).toHaveLength(409_600);
    expect(sender.busyUntil).toBe(clock.now + 100_000);
    sender.onPong();
    expect(sender.busyUntil).toBe(0);
  });

  test("is not announced to an edge that does not know that (W34)", () => {
    const { sender, written } = senderOf(null);
    sender.send("y".repeat(100_000));
    expect(written[0]).toHaveLength(100_000);
  });
});
