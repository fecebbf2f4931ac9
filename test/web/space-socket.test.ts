import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { dialSpace } from "../../src/web/space-socket.ts";

/** The browser's `WebSocket`, opened by the test. */
class FakeSocket extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  static made: FakeSocket[] = [];
  readyState = FakeSocket.CONNECTING;
  readonly sent: string[] = [];

  constructor() {
    super();
    FakeSocket.made.push(this);
  }

  open(): void {
    this.readyState = FakeSocket.OPEN;
    this.dispatchEvent(new Event("open"));
  }

  receive(data: string): void {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  send(data: string): void {
    this.sent.push(data);
  }

  close(): void {
    this.readyState = FakeSocket.CLOSED;
  }
}

const handlers = {
  onOpen: () => undefined,
  onDisconnect: () => undefined,
  onClose: () => undefined,
  onFrame: () => undefined,
};

beforeEach(() => {
  FakeSocket.made = [];
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("location", { href: "https://edge.test/spaces/demo" });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function openSocket() {
  const socket = dialSpace("demo", () => null, handlers);
  await vi.advanceTimersByTimeAsync(2_000);
  const [dialed] = FakeSocket.made;
  if (dialed === undefined) throw new Error("it was not dialed");
  dialed.open();
  return { socket, dialed };
}

test("a page's silent socket sends pings in time for a proxy that closes it after a minute", async () => {
  const { socket, dialed } = await openSocket();
  for (let minute = 0; minute < 5; minute += 1) {
    for (let third = 0; third < 3; third += 1) {
      await vi.advanceTimersByTimeAsync(20_000);
      dialed.receive("pong");
    }
    expect(dialed.sent.splice(0)).toEqual(["ping", "ping", "ping"]);
  }
  expect(FakeSocket.made).toHaveLength(1);
  socket.close();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(dialed.sent).toEqual([]);
});

test("a page's socket on which nothing comes back is dialed again", async () => {
  const { socket } = await openSocket();
  await vi.advanceTimersByTimeAsync(45_000);
  expect(FakeSocket.made).toHaveLength(2);
  socket.close();
});
