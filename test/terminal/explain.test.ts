import { describe, expect, it } from "vitest";
import { DialoutError } from "../../src/client/index.ts";
import { readKey } from "../../terminal/edge-options.ts";
import { explain, UsageError } from "../../terminal/explain.ts";

describe("an error", () => {
  it.each([
    [new DialoutError("worker_not_connected", "No worker.", { status: 409 }), 4, "start a worker"],
    [new DialoutError("space_not_found", "No space.", { status: 404 }), 4, "dialout spaces"],
    [new DialoutError("job_not_found", "No job."), 4, "check the id"],
    [new DialoutError("unreachable", "No answer."), 5, "dialout doctor"],
    [new DialoutError("not_an_edge", "A page.", { status: 404 }), 5, "dialout doctor"],
    [new DialoutError("http_502", "Bad gateway.", { status: 502 }), 5, ""],
    [new DialoutError("temporarily_unavailable", "Later.", { status: 503 }), 5, ""],
    [new DialoutError("invalid_url", "Not an address."), 2, "--url"],
    [
      new DialoutError("rate_limited", "Too many.", { status: 429, retryAfterMs: 1_500 }),
      4,
      "in 2 s",
    ],
    [new UsageError("It is wrong.", "do this"), 2, "do this"],
    [new Error("a bug"), 70, ""],
  ])("%s ends the program with %i and says what to do", (error, code, words) => {
    const { exitCode, help } = explain(error);
    expect(exitCode).toBe(code);
    expect(help.join("\n")).toContain(words);
  });

  it("lists what is wrong with each field, and has nothing that a terminal obeys", () => {
    const errors = [{ path: "/input/width", message: "must be\u001b[31m a number" }];
    const { help } = explain(new DialoutError("invalid_request", "No.", { status: 422, errors }));
    expect(help).toEqual(["/input/width: must be a number"]);
    const told = new DialoutError("invalid_request", "/a: no", {
      status: 422,
      errors: [{ path: "/a", message: "no" }],
    });
    expect(explain(told).help).toEqual([]);
  });

  it("without an answer to a submit says how to go on without a second job", () => {
    const { help } = explain(new DialoutError("timed_out", "Late.", { idempotencyKey: "k-1" }));
    expect(help.join("\n")).toContain("--idempotency-key k-1");
  });
});

describe("the key", () => {
  it.each([
    [{ DIALOUT_KEY: "dok_a" }, "dok_a"],
    [{ DIALOUT_TOKEN: "dok_b" }, "dok_b"],
    [{ DIALOUT_KEY: "dok_a", DIALOUT_TOKEN: "dok_b" }, "dok_a"],
    [{ DIALOUT_TOKEN: "dow_of-a-worker" }, null],
    [{}, null],
  ])("of the environment %j is %j", (env, key) => {
    expect(readKey(undefined, env)).toBe(key);
  });

  it("that can't be sent is refused without being shown", () => {
    expect(() => readKey(undefined, { DIALOUT_KEY: "my secret" })).toThrow(
      /^the key in DIALOUT_KEY is empty, or has/,
    );
    expect(() => readKey("/nowhere", {})).toThrow("can't be read");
  });
});
