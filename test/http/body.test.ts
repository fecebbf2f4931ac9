import { Hono } from "hono";
import { afterEach, describe, expect, test, vi } from "vitest";
import { readJson } from "../../src/http/body.ts";
import type { AppEnv } from "../../src/http/context.ts";
import { answerError } from "../../src/http/problems.ts";

afterEach(() => void vi.restoreAllMocks());

const app = new Hono<AppEnv>()
  .post("/", async (c) => c.json({ read: await readJson(c, 1_000) }))
  .onError(answerError);

/** A body of which only the beginning comes. */
function cutShort(): ReadableStream<Uint8Array> {
  let pulls = 0;
  return new ReadableStream({
    pull(controller) {
      pulls += 1;
      if (pulls === 1) controller.enqueue(new TextEncoder().encode('{"input":'));
      else controller.error(new Error("Network connection lost."));
    },
  });
}

describe("a body that breaks off", () => {
  test.each([{}, { "content-length": "500" }])(
    "is no failure of the edge, and is not logged as one (%o)",
    async (headers) => {
      const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
      const init = { method: "POST", body: cutShort(), duplex: "half" } as RequestInit;
      const all = { "content-type": "application/json", ...headers };
      const answer = await app.request("http://edge/", { ...init, headers: all });
      expect(answer.status).toBe(503);
      expect(await answer.json()).toMatchObject({ code: "temporarily_unavailable" });
      expect(logged).not.toHaveBeenCalled();
    },
  );
});
