import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { isSafeNumber, LosslessNumber, parse } from "lossless-json";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  DialoutClient,
  type DialoutError,
  type JobEvent,
  type Json,
  type Sending,
} from "../../src/client/index.ts";
import { NO_JOB, viewEvent } from "../../src/client/job-view.ts";
import { type FakeAnswer, problem } from "../support/fake-subscriber-edge.ts";
import { freePort } from "../support/port.ts";
import { completed, connection, jobResource, output, progress } from "./jobs.ts";
import { clientOf, JOB_ID, startClient } from "./start.ts";

const PORTAL: FakeAnswer = { html: "<!doctype html><title>Log in to this network</title>" };
const ACCEPTED: FakeAnswer = { status: 202, body: jobResource() };

async function failureOf(work: Promise<unknown>): Promise<DialoutError> {
  return work.then(
    () => expect.fail("it was expected to fail"),
    (error) => error,
  );
}

/** A `fetch` that never answers, and heeds no signal either. */
const hanging = () => new Promise<Response>(() => undefined);

describe("a call without an answer", () => {
  test("names the address and the cause", async () => {
    const port = await freePort();
    const client = clientOf({ url: `http://127.0.0.1:${port}` }, { timeout: 2_000 });
    const error = await failureOf(client.job(JOB_ID).get());
    expect(error.code).toBe("unreachable");
    expect(error.message).toContain(`http://127.0.0.1:${port}`);
    expect(error.message).toContain("ECONNREFUSED");
  });

  test("is given up after `requestTimeout`, repeated, and ends after `timeout`", async () => {
    const limits = { fetch: hanging, requestTimeout: 40, timeout: 300 };
    const client = new DialoutClient({ url: "http://edge", ...limits });
    const attempts: number[] = [];
    const onSending = (sending: Sending) => {
      if (sending.state === "sending") attempts.push(sending.attempt);
    };
    const error = await failureOf(client.job(JOB_ID).get({ timeout: 1_500, onSending }));
    expect(error).toMatchObject({ code: "timed_out", status: null });
    expect(attempts.length).toBeGreaterThan(1);
    expect(await failureOf(client.space("demo").get())).toMatchObject({ code: "timed_out" });
  });

  test("is waited for while it arrives, however slowly, unless its time was given", async () => {
    const text = JSON.stringify(jobResource());
    const server = createServer(async (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const size = Math.ceil(text.length / 12);
      for (let at = 0; at < text.length; at += size) {
        response.write(text.slice(at, at + size));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = clientOf({ url }, { requestTimeout: 400 });
    expect(await client.job(JOB_ID).get()).toMatchObject({ id: JOB_ID });
    const short = await failureOf(client.job(JOB_ID).get({ timeout: 300 }));
    expect(short).toMatchObject({ code: "timed_out" });
  });

  test("is asked for again if something in between limits requests", async () => {
    const { edge, client } = await startClient();
    const answers: FakeAnswer[] = [{ status: 429, html: "<h1>Slow down</h1>" }, ACCEPTED];
    edge.answer = () => answers.shift() ?? "drop";
    expect((await client.space("demo").submit({})).id).toBe(JOB_ID);
    expect(edge.requests).toHaveLength(2);
  });

  test("ends when the signal aborts, whatever `fetch` does", async () => {
    const client = new DialoutClient({ url: "http://edge", fetch: hanging });
    const stop = new AbortController();
    const get = client.job(JOB_ID).get({ signal: stop.signal });
    const submit = client.space("demo").submit({}, { signal: stop.signal });
    stop.abort(new Error("enough"));
    await expect(get).rejects.toThrow("enough");
    await expect(submit).rejects.toThrow("enough");
  });

  test("ends when the client is closed, which can be used again", async () => {
    let calls = 0;
    const fetch = async () => {
      calls += 1;
      return calls === 1 ? hanging() : Response.json(jobResource());
    };
    const client = new DialoutClient({ url: "http://edge", fetch });
    const get = client.job(JOB_ID).get();
    await expect.poll(() => calls).toBe(1);
    client.close();
    await expect(get).rejects.toMatchObject({ code: "connection_closed" });
    expect((await client.job(JOB_ID).get()).id).toBe(JOB_ID);
  });

  test("is not made if the signal has aborted already", async () => {
    let calls = 0;
    const count = async () => {
      calls += 1;
      return Response.json(jobResource());
    };
    const token = () => count().then(() => "token");
    const client = new DialoutClient({ url: "http://edge", fetch: count, token });
    const signal = AbortSignal.abort(new Error("never"));
    await expect(client.job(JOB_ID).get({ signal })).rejects.toThrow("never");
    await expect(client.space("demo").submit({}, { signal })).rejects.toThrow("never");
    await expect(client.job(JOB_ID).result({ signal })).rejects.toThrow("never");
    await expect(client.space("demo").statuses({ signal }).next()).rejects.toThrow("never");
    expect(await client.space("demo").watch({ signal }).closed).toBeNull();
    expect(await client.job(JOB_ID).follow({ signal }).closed).toBeNull();
    expect(calls).toBe(0);
  });

  test("fails with `unreachable` if `fetch` throws before it returns a promise", async () => {
    const fetch = () => {
      throw new Error("no network here");
    };
    const client = new DialoutClient({ url: "http://edge", fetch, timeout: 2_000 });
    await expect(client.job(JOB_ID).get()).rejects.toMatchObject({ code: "unreachable" });
  });

  test("fails with `invalid_token` if the token function hangs or returns no text", async () => {
    const options = { url: "http://edge", requestTimeout: 50, fetch: hanging };
    const hangs = new DialoutClient({
      ...options,
      token: () => new Promise<string>(() => undefined),
    });
    const error = await failureOf(hangs.job(JOB_ID).get());
    expect(error).toMatchObject({ code: "invalid_token" });
    expect(error.message).toContain("0.05 s");
    const odd = new DialoutClient({
      ...options,
      token: () => ({ token: "a" }) as unknown as string,
    });
    await expect(odd.job(JOB_ID).get()).rejects.toMatchObject({ code: "invalid_token" });
  });
});

describe("an answer that no edge sent", () => {
  test("is repeated: a login page of a network passes", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => (edge.requests.length < 3 ? PORTAL : ACCEPTED);
    expect((await client.space("demo").submit({})).id).toBe(JOB_ID);
    const keys = edge.requests.map(({ headers }) => headers["idempotency-key"]);
    expect(keys).toEqual(Array(3).fill(keys[0]));
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
  });

  test.each([401, 403, 404, 409, 400, 502])(
    "is repeated with the status %i too",
    async (status) => {
      const { edge, client } = await startClient();
      edge.answer = () => (edge.requests.length < 2 ? { status, html: "<h1>No</h1>" } : ACCEPTED);
      expect((await client.space("demo").submit({})).id).toBe(JOB_ID);
    },
  );

  test("is named at last: there is no edge at this address", async () => {
    const { edge, client } = await startClient({ timeout: 2_000 });
    edge.answer = () => PORTAL;
    const error = await failureOf(client.space("demo").submit({}));
    expect(error).toMatchObject({ code: "not_an_edge", status: 200 });
    expect(error.message).toContain("There is no edge at this address: a page of HTML");
    expect(error.idempotencyKey).toMatch(/^[0-9a-f]{32}$/);
    edge.answer = () => ({ status: 404, body: { message: "No route." } });
    await expect(client.job(JOB_ID).get()).rejects.toMatchObject({ code: "not_an_edge" });
    edge.answer = () => ({ status: 503, html: "<h1>Busy</h1>" });
    await expect(client.job(JOB_ID).get()).rejects.toMatchObject({ code: "http_503" });
  });

  test("is not taken for a refusal, even if it has the form of a problem but no code of an edge", async () => {
    const { edge, client } = await startClient();
    edge.answer = () =>
      edge.requests.length < 2 ? problem(401, "proxy_login_required") : ACCEPTED;
    expect((await client.space("demo").submit({})).id).toBe(JOB_ID);
    const following = client.space("demo").watch({});
    edge.answer = () => problem(404, "page_not_found");
    edge.refuse(404);
    expect(await edge.socket()).toBeDefined();
    following.close();
    expect(await following.closed).toBeNull();
  });

  test("tells where a redirect leads, because a POST arrives there as a GET", async () => {
    const { edge } = await startClient();
    edge.answer = () => problem(401, "not_authenticated", "The list is for the operator.");
    const server = createServer((_request, response) => {
      response.writeHead(301, { location: `${edge.url}/moved` }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const error = await failureOf(clientOf({ url }, { timeout: 2_000 }).space("demo").submit({}));
    expect(error.code).toBe("not_an_edge");
    expect(error.message).toContain(`leads to ${edge.url}`);
  });
});

describe("a submit", () => {
  test("says at once that it is being sent, and then why it waits and until when", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => (edge.requests.length < 2 ? "drop" : ACCEPTED);
    const states: Sending[] = [];
    const submit = client
      .space("demo")
      .submit({}, { onSending: (sending) => states.push(sending) });
    expect(states).toMatchObject([{ state: "sending", attempt: 1 }]);
    await submit;
    const [, waiting] = states;
    expect(states).toMatchObject([
      { state: "sending", attempt: 1 },
      { state: "waiting", attempt: 1, error: { code: "unreachable" } },
      { state: "sending", attempt: 2 },
    ]);
    expect(waiting?.state === "waiting" && waiting.retryAt).toBeGreaterThanOrEqual(
      states[0]?.since ?? 0,
    );
  });

  test("without an answer can go on with its key, and creates one job", async () => {
    const { edge, client } = await startClient({ timeout: 2_000 });
    edge.answer = () => "drop";
    const error = await failureOf(client.space("demo").submit({ n: 1 }));
    expect(error.code).toBe("unreachable");
    const { idempotencyKey } = error;
    edge.answer = () => ACCEPTED;
    await client.space("demo").submit({ n: 1 }, { idempotencyKey: idempotencyKey ?? "" });
    const keys = edge.requests.map(({ headers }) => headers["idempotency-key"]);
    expect(idempotencyKey).toMatch(/^[0-9a-f]{32}$/);
    expect(keys.length).toBeGreaterThan(1);
    expect(keys).toEqual(Array(keys.length).fill(idempotencyKey));
  });

  test("that the edge refuses has no key to go on with", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => problem(409, "worker_not_connected");
    const error = await failureOf(client.space("demo").submit({}));
    expect(error).toMatchObject({ code: "worker_not_connected", idempotencyKey: null });
  });

  test("sends numbers with all their digits, and says how if they are bigints", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ACCEPTED;
    const seed = JSON.rawJSON("18446744073709551615") as never;
    await client.space("demo").submit({ seed });
    expect(String(edge.requests[0]?.body)).toBe('{"input":{"seed":18446744073709551615}}');
    await client.space("demo").submit({ seed: new LosslessNumber("1.0") as never });
    expect(String(edge.requests.at(-1)?.body)).toContain('"seed":1.0');
    const bigint = await failureOf(client.space("demo").submit({ seed: 1n as never }));
    expect(bigint.code).toBe("invalid_request");
    expect(bigint.message).toContain("JSON.rawJSON(String(value))");
    const files = { a: new Blob(["a"]) };
    const form = await failureOf(client.space("demo").submit({ seed: 1n as never }, { files }));
    expect(form.message).toContain("`seed` is a bigint");
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    expect(await failureOf(client.space("demo").submit(circle as never))).toMatchObject({
      code: "invalid_request",
    });
    expect(edge.requests).toHaveLength(2);
  });

  test("refuses what can't be sent before it is sent", async () => {
    const { edge, client } = await startClient();
    const demo = client.space("demo");
    const large = { size: 5_368_709_121 } as Blob;
    Object.setPrototypeOf(large, Blob.prototype);
    Object.defineProperty(large, "size", { value: 5_368_709_121 });
    const refused: [Promise<unknown>, string][] = [
      [demo.submit({ text: "x".repeat(600_000) }), "payload_too_large"],
      [demo.submit({}, { files: { large } }), "payload_too_large"],
      [
        demo.submit({}, { files: { bytes: new Uint8Array(3) as unknown as Blob } }),
        "invalid_request",
      ],
      [demo.submit({}, { files: { text: "words" as unknown as Blob } }), "invalid_request"],
      [demo.submit([] as never), "invalid_request"],
      [demo.submit(undefined as never), "invalid_request"],
      [demo.submit({}, { idempotencyKey: "ключ" }), "invalid_request"],
      [demo.submit({}, { idempotencyKey: "" }), "invalid_request"],
      [demo.submit({}, { timeout: 0 }), "invalid_option"],
      [demo.submit({}, { timeout: Number.NaN }), "invalid_option"],
      [demo.submitMany([]), "invalid_request"],
      [demo.submitMany(Array(1_001).fill({ input: {} })), "invalid_request"],
      [
        demo.submitMany(Array(20).fill({ input: { text: "x".repeat(500_000) } })),
        "payload_too_large",
      ],
    ];
    for (const [work, code] of refused) expect(await failureOf(work)).toMatchObject({ code });
    expect(edge.requests).toHaveLength(0);
  });

  test("sends empty files, and files without a name under that of their field", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ACCEPTED;
    const files = {
      empty: new File([], "empty.txt"),
      unnamed: new File(["a"], ""),
      blob: new Blob([]),
    };
    await client.space("demo").submit({}, { files });
    const [request] = edge.requests;
    const type = String(request?.headers["content-type"]);
    const body = new Uint8Array(request?.body ?? []);
    const form = await new Response(body, { headers: { "content-type": type } }).formData();
    const sent = ["empty", "unnamed", "blob"].map((field) => form.get(field) as File);
    expect(sent.map(({ name, size }) => [name, size])).toEqual([
      ["empty.txt", 0],
      ["unnamed", 1],
      ["blob", 0],
    ]);
  });
});

describe("numbers in answers", () => {
  const DIGITS = "18446744073709551615";
  /** As in docs/client.md. */
  const parseJson = (text: string) =>
    parse(text, null, (digits) =>
      isSafeNumber(digits) ? Number(digits) : new LosslessNumber(digits),
    );

  test("are read by `parseJson`, in calls and in frames", async () => {
    const { edge, client } = await startClient({ parseJson });
    const withDigits = (value: object) =>
      JSON.stringify(value).replace('"result":7', `"result":${DIGITS}`);
    edge.text = withDigits(jobResource({ status: "completed", result: 7 }));
    expect(String((await client.job(JOB_ID).get()).result)).toBe(DIGITS);
    const result = client.job(JOB_ID).result();
    const socket = await edge.socket();
    socket.send(connection(1), progress(1));
    socket.sendText(withDigits(completed(2, 7)));
    expect(String(await result)).toBe(DIGITS);
  });

  test.each([
    ["lossless numbers", parseJson],
    [
      "bigints",
      (text: string) =>
        parse(text, null, (digits) => (isSafeNumber(digits) ? Number(digits) : BigInt(digits))),
    ],
  ])("are shown with all digits in a view of the output, as %s", (_name, read) => {
    const { delta } = read(`{"delta":{"seed":${DIGITS}}}`) as { delta: Json };
    const event = { ...output(2, null), delta, position: "e:2" } as JobEvent;
    expect(viewEvent(NO_JOB, event).output).toBe(`{"seed":${DIGITS}}\n`);
  });
});
