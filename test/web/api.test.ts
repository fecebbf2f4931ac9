import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { endSession } from "../../src/web/account-api.ts";
import { call } from "../../src/web/api.ts";

const anything = z.unknown();
let answers: (Response | "lost" | "hang")[] = [];
let asked: string[] = [];

beforeEach(() => {
  answers = [];
  asked = [];
  vi.stubGlobal("location", { href: "http://edge.test/account" });
  vi.stubGlobal("fetch", async (address: string, { method }: RequestInit) => {
    asked.push(`${method} ${new URL(address).pathname}`);
    const answer = answers.shift() ?? Response.json({});
    if (answer === "hang") return new Promise(() => undefined);
    if (answer === "lost") throw new TypeError("Failed to fetch");
    return answer;
  });
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function problem(status: number, code: string, headers: Record<string, string> = {}): Response {
  const body = { type: "about:blank", title: code, status, detail: `${code}!`, code };
  return Response.json(body, { status, headers });
}

/** The outcome of a call, and how long it took in milliseconds. */
async function timed<T>(calling: Promise<T>): Promise<{ outcome: T; ms: number }> {
  const since = Date.now();
  const done = calling.then((outcome) => ({ outcome, ms: Date.now() - since }));
  await vi.advanceTimersByTimeAsync(120_000);
  return done;
}

describe("a page's request", () => {
  test("for something to read is sent again after as long as the edge asks for (H3)", async () => {
    answers = [problem(429, "rate_limited", { "retry-after": "7" }), "lost", Response.json(1)];
    const { outcome, ms } = await timed(call({ path: "/api/keys" }, anything));
    expect(outcome).toEqual({ ok: true, value: 1 });
    expect(asked).toHaveLength(3);
    expect(ms).toBeGreaterThanOrEqual(7_000);
  });

  test("that makes something is sent once, and its refusal says when to try again", async () => {
    answers = [problem(429, "rate_limited", { "retry-after": "7" })];
    const request = { method: "POST", path: "/api/keys", body: {} } as const;
    const { outcome } = await timed(call(request, anything));
    expect(outcome).toMatchObject({
      ok: false,
      error: { code: "rate_limited", message: "rate_limited!", retryAfterMs: 7_000 },
    });
    answers = ["lost"];
    expect((await timed(call(request, anything))).outcome.ok).toBe(false);
    expect(asked).toHaveLength(2);
  });

  test("that removes something is repeated, and has succeeded if it is gone by then", async () => {
    answers = ["lost", problem(404, "not_found")];
    expect((await timed(endSession("s"))).outcome).toEqual({ ok: true, value: null });
    expect(asked).toEqual(Array(2).fill("DELETE /api/me/sessions/s"));
    answers = [problem(403, "not_allowed")];
    expect((await timed(endSession("s"))).outcome).toMatchObject({ ok: false });
  });

  test("ends by itself if no answer comes", async () => {
    answers = Array(9).fill("hang");
    const { outcome, ms } = await timed(call({ path: "/api/me" }, anything));
    expect(outcome).toMatchObject({ ok: false, error: { code: "timed_out" } });
    expect(ms).toBeLessThanOrEqual(60_000);
    answers = ["hang"];
    const post = await timed(call({ method: "POST", path: "/api/keys", body: {} }, anything));
    expect([post.outcome.ok, post.ms]).toEqual([false, 10_000]);
  });
});
