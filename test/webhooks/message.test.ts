import { afterEach, describe, expect, test, vi } from "vitest";
import { makeSecret, sendMessage } from "../../src/webhooks/message.ts";

afterEach(() => void vi.unstubAllGlobals());

function send() {
  const message = { id: "m", url: "https://hooks.example", event: "completed", job: "{}" } as const;
  return sendMessage(message, makeSecret(), new Date(), new AbortController().signal);
}

describe("a message to a webhook that can't be reached", () => {
  test("says so in its own words: the runtime's are for the log", async () => {
    const failing = () => Promise.reject(new Error("internal error; reference = 7c1k2"));
    vi.stubGlobal("fetch", failing);
    const words = "The address can't be reached: there is no such host, or it takes no connection.";
    expect(await send()).toEqual({ error: words });
  });

  test("says so if the connection broke off", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new Error("Network connection lost.")));
    expect(await send()).toEqual({ error: "The connection broke off before an answer came." });
  });
});
