import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { preferredWait } from "../../src/http/submit.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/resources.ts";
import { asUser, body, Edge, OPERATOR, refusal } from "./edge.ts";

const ULID = "01JCQ9X4T3N5V7W8Y2Z6A1B3C4";
const JOBS = "/api/spaces/demo/jobs";

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

interface Submitted {
  input: string;
  files: {
    field: string;
    name: string;
    content_type: string;
    size: number;
    sha256: string;
    key: string;
  }[];
  options: object;
}

/** An edge whose space takes everything; the job is the text of its answer. */
function takingEdge(settings: object = {}, spaces?: string[]) {
  const edge = new Edge({}, spaces);
  edge.answers.describe = () =>
    body({ ...DEFAULT_SETTINGS, enable_file_upload: true, ...settings });
  edge.answers.submit = ({ args }) =>
    (args[1] as unknown[]).map((_, n) => ({
      ok: true,
      body: `{"n":${n}}`,
      ulid: ULID,
      isRepeat: false,
    }));
  const submitted = () => edge.argsOf("submit").flatMap(([, calls]) => calls as Submitted[]);
  return { edge, submitted };
}

describe("a submit as JSON", () => {
  it("is handed to its space with its options, and answered 202 with its address (H5)", async () => {
    const { edge, submitted } = takingEdge();
    const given = { input: { prompt: "hi", n: 1 }, priority: 5, idempotency_key: "k" };
    const response = await edge.request("POST", JOBS, given);
    expect([response.status, await response.text()]).toEqual([202, '{"n":0}']);
    expect(response.headers.get("location")).toBe(`/api/jobs/demo.${ULID}`);
    expect(response.headers.get("idempotency-replayed")).toBeNull();
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(submitted()).toEqual([
      {
        input: '{"prompt":"hi","n":1}',
        files: [],
        options: { priority: 5, idempotency_key: "k" },
      },
    ]);
    expect(edge.argsOf("submit")[0]?.[0]).toMatchObject({ isAdmin: false, local: false });
  });

  it("has its idempotency key in the header or the body, the header counts more (H10)", async () => {
    const { edge, submitted } = takingEdge();
    const given = { input: {}, idempotency_key: "body" };
    await edge.request("POST", JOBS, given, { "idempotency-key": "header" });
    expect(submitted()[0]?.options).toEqual({ idempotency_key: "header" });
    const [status, problem] = await edge.problem(
      "POST",
      JOBS,
      { input: {} },
      {
        "idempotency-key": "x".repeat(300),
      },
    );
    expect([status, problem.detail]).toEqual([422, expect.stringContaining("`Idempotency-Key`")]);
    expect(submitted()).toHaveLength(1);
  });

  it("that was made before says so (H10b)", async () => {
    const { edge } = takingEdge();
    edge.answers.submit = () => [{ ok: true, body: "{}", ulid: ULID, isRepeat: true }];
    const response = await edge.request("POST", JOBS, { input: {} });
    expect([response.status, response.headers.get("idempotency-replayed")]).toEqual([202, "true"]);
  });

  it("keeps the digits of its numbers", async () => {
    const { edge, submitted } = takingEdge();
    await edge.request("POST", JOBS, '{"input":{"n":12345678901234567890.10}}');
    expect(submitted()[0]?.input).toBe('{"n":12345678901234567890.10}');
  });

  it("that its space refuses is answered with the reason", async () => {
    const { edge } = takingEdge();
    edge.answers.submit = () => [refusal("queue_full", "Full.")];
    const [status, problem] = await edge.problem("POST", JOBS, { input: {} });
    expect([status, problem.code, problem.detail]).toEqual([429, "queue_full", "Full."]);
  });

  it.each([
    ["text/plain", '{"input":{}}', 415, "unsupported_media_type"],
    ["application/json; charset=latin1", '{"input":{}}', 415, "unsupported_media_type"],
    ["application/json", "", 400, "invalid_json"],
    ["application/json", "   ", 400, "invalid_json"],
    ["application/json", '{"input":', 400, "invalid_json"],
    ["application/json", '{"input":7}', 422, "invalid_request"],
    ["application/json", '{"input":{},"nonsense":1}', 422, "invalid_request"],
  ])(
    "of type %s with %j is refused before any object is called (H3)",
    async (type, text, status, code) => {
      const { edge } = takingEdge();
      const [given, problem] = await edge.problem("POST", JOBS, text, { "content-type": type });
      expect([given, problem.code]).toEqual([status, code]);
      expect(edge.calls).toEqual([]);
    },
  );

  it("that is not UTF-8 is refused (H3)", async () => {
    const { edge } = takingEdge();
    const bytes = new Uint8Array([...Buffer.from('{"input":{"a":"'), 0xff, ...Buffer.from('"}}')]);
    const [status, problem] = await edge.problem("POST", JOBS, bytes);
    expect([status, problem.code]).toEqual([400, "invalid_json"]);
    expect(problem.detail).toContain("UTF-8");
  });

  it("may have 1 MiB, and not a byte more, whether its length is declared or not (H3)", async () => {
    const { edge } = takingEdge();
    const text = (bytes: number) => '{"input":{}}'.padEnd(bytes);
    for (const declared of [true, false]) {
      const headers = (size: number): Record<string, string> =>
        declared ? { "content-length": String(size) } : {};
      const whole = await edge.request("POST", JOBS, text(1_048_576), headers(1_048_576));
      expect(whole.status).toBe(202);
      const [status, problem] = await edge.problem(
        "POST",
        JOBS,
        text(1_048_577),
        headers(1_048_577),
      );
      expect([status, problem.code]).toEqual([413, "payload_too_large"]);
    }
    const [status] = await edge.problem("POST", JOBS, text(1_048_577), { "content-length": "7" });
    expect(status).toBe(413);
  });
});

describe("the rate of submits", () => {
  it("is counted by address, and too many are refused before anything else (H11)", async () => {
    const { edge } = takingEdge();
    edge.isLimited = true;
    for (const path of [JOBS, `${JOBS}/batch`]) {
      const [status, problem] = await edge.problem("POST", path, "{", {
        "cf-connecting-ip": "9.9.9.9",
      });
      expect([status, problem.code]).toEqual([429, "rate_limited"]);
    }
    expect(edge.counted).toEqual(["address 9.9.9.9", "address 9.9.9.9"]);
    expect(edge.calls).toEqual([]);
  });

  it("is counted by user for those who say who they are, wherever they are (H21b)", async () => {
    const { edge } = takingEdge();
    edge.isLimited = true;
    const from = { "cf-connecting-ip": "9.9.9.9" };
    const submitAs = (headers: object) =>
      edge.problem("POST", JOBS, { input: {} }, { ...from, ...headers });
    const refusals = [
      await submitAs(await asUser("ann")),
      await submitAs({ "cf-connecting-ip": "2001:DB8:1:2:3::4" }),
    ];
    expect(edge.counted).toEqual(["user ann", "address 2001:db8:1:2"]);
    expect(refusals.map(([status, { detail }]) => [status, detail?.split(":")[0]])).toEqual([
      [429, "Too many submits by you"],
      [429, "Too many submits from your address"],
    ]);
  });

  it("of the operator is not counted (H11)", async () => {
    const { edge } = takingEdge();
    edge.isLimited = true;
    const response = await edge.request("POST", JOBS, { input: {} }, OPERATOR);
    expect([response.status, edge.counted]).toEqual([202, []]);
    expect(edge.argsOf("submit")[0]?.[0]).toMatchObject({ isAdmin: true, local: false });
  });

  it("of this machine is not counted where the edge is only for it (H9c)", async () => {
    const { edge } = takingEdge();
    edge.env.LOCAL = "true";
    edge.isLimited = true;
    const response = await edge.request("POST", JOBS, { input: {} }, { host: "localhost:8787" });
    expect([response.status, edge.counted]).toEqual([202, []]);
    expect(edge.argsOf("submit")[0]?.[0]).toMatchObject({ isAdmin: false, local: true });
  });
});

describe("a space that the catalogue has and its object doesn't", () => {
  it("is made again with the settings in the catalogue, and called once more", async () => {
    const { edge } = takingEdge({}, []);
    const settings = { name: "demo", title: "Kept", visibility: "private" };
    expect((await edge.request("POST", "/api/spaces", settings, OPERATOR)).status).toBe(201);
    edge.calls.length = 0;
    let isMade = false;
    edge.answers.create = () => {
      isMade = true;
    };
    edge.answers.submit = () =>
      isMade
        ? [{ ok: true, body: "{}", ulid: ULID, isRepeat: false }]
        : [refusal("space_not_found")];
    expect((await edge.request("POST", JOBS, { input: {} })).status).toBe(202);
    expect(edge.asked).toEqual(["space demo: submit", "space demo: create", "space demo: submit"]);
    const [name, made, isNew] = edge.argsOf("create")[0] ?? [];
    expect([name, isNew]).toEqual(["demo", false]);
    expect(made).toMatchObject({ title: "Kept", visibility: "private", max_queue: 1_000 });
  });

  it("is not made for another refusal, and one that isn't listed is not even called", async () => {
    const { edge } = takingEdge();
    edge.answers.submit = () => [refusal("not_authenticated")];
    expect((await edge.request("POST", JOBS, { input: {} })).status).toBe(401);
    expect(edge.argsOf("create")).toEqual([]);
    edge.calls.length = 0;
    expect((await edge.request("POST", "/api/spaces/gone/jobs", { input: {} })).status).toBe(404);
    expect(edge.calls).toEqual([]);
  });
});

describe("`Prefer: wait`", () => {
  it.each([
    [undefined, null],
    ["", null],
    ["respond-async", null],
    ["wait", 60],
    ["wait=5", 5],
    ["wait = 5", 5],
    ["WAIT=5", 5],
    ["respond-async, wait=5", 5],
    ["wait=5; x=1", 5],
    ["wait=600", 60],
    ["wait=0", 0],
    ["wait=-1", null],
    ["wait=soon", null],
    ["waiting=5", null],
    ["await", null],
    ["handling=lenient,wait=10,respond-async", 10],
  ])("as %j waits for %j seconds (H7)", (prefer, seconds) => {
    expect(preferredWait(prefer)).toBe(seconds);
  });
});

function form(...parts: string[]) {
  const text = parts.map((part) => `--b\r\nContent-Disposition: form-data; ${part}\r\n`).join("");
  return [`${text}--b--\r\n`, { "content-type": "multipart/form-data; boundary=b" }] as const;
}

describe("a submit as a form", () => {
  const FILE =
    'name="image"; filename="C:\\\\dir\\\\cat.png"\r\nContent-Type: image/png\r\n\r\nbytes';

  it("stores its files first, and hands their descriptions to the space (H6)", async () => {
    const { edge, submitted } = takingEdge();
    const response = await edge.request(
      "POST",
      JOBS,
      ...form('name="prompt"\r\n\r\nhi', FILE, FILE),
    );
    expect(response.status).toBe(202);
    const [call] = submitted();
    expect(call?.input).toBe('{"prompt":"hi"}');
    const [first, second] = call?.files ?? [];
    expect(first).toEqual({
      field: "image",
      name: "cat.png",
      content_type: "image/png",
      size: 5,
      sha256: createHash("sha256").update("bytes").digest("hex"),
      key: expect.stringMatching(/^spaces\/demo\/inputs\/[0-9A-Z]{26}\/0$/),
    });
    expect(second?.key).toBe(first?.key.replace(/0$/, "1"));
    expect([...edge.files.keys()].sort()).toEqual([first?.key, second?.key]);
    expect(Buffer.from(edge.files.get(first?.key ?? "") ?? []).toString()).toBe("bytes");
  });

  it.each([
    ["image/png", "image/png"],
    ["audio/webm;codecs=opus", "audio/webm;codecs=opus"],
    ["image/png; x=\x01", "image/png"],
    [`image/png; x=${"y".repeat(255)}`, "image/png"],
    ["image", "application/octet-stream"],
    ["a b/c", "application/octet-stream"],
    ["", "application/octet-stream"],
  ])("has a file of type %j as %j", async (sent, kept) => {
    const { edge, submitted } = takingEdge();
    const part = `name="f"; filename="f"\r\nContent-Type: ${sent}\r\n\r\nx`;
    expect((await edge.request("POST", JOBS, ...form(part))).status).toBe(202);
    expect(submitted()[0]?.files[0]?.content_type).toBe(kept);
  });

  it("leaves no file behind if the space refuses it, or has the job already (H6a, H10b)", async () => {
    const { edge } = takingEdge();
    edge.answers.submit = () => {
      expect(edge.files.size).toBe(1);
      return [refusal("queue_full")];
    };
    expect((await edge.request("POST", JOBS, ...form(FILE))).status).toBe(429);
    expect(edge.files.size).toBe(0);
    edge.answers.submit = () => [{ ok: true, body: "{}", ulid: ULID, isRepeat: true }];
    expect((await edge.request("POST", JOBS, ...form(FILE))).status).toBe(202);
    expect(edge.files.size).toBe(0);
  });

  it("keeps its files if nobody knows whether the job was made", async () => {
    const { edge } = takingEdge();
    edge.answers.submit = () => {
      throw Object.assign(new Error("the object restarts"), { retryable: true });
    };
    expect((await edge.request("POST", JOBS, ...form(FILE))).status).toBe(503);
    expect(edge.files.size).toBe(1);
  });

  it("stores no file that the space doesn't take, or that comes with a wrong option (H6)", async () => {
    const { edge } = takingEdge({ enable_file_upload: false });
    const [status, problem] = await edge.problem("POST", JOBS, ...form(FILE));
    expect([status, problem.code]).toEqual([422, "file_upload_not_enabled"]);
    const wrong = form(FILE, 'name="priority"\r\n\r\nhigh');
    expect((await edge.problem("POST", JOBS, ...wrong))[0]).toBe(422);
    expect([edge.files.size, edge.argsOf("submit")]).toEqual([0, []]);
  });

  it("to a space that the caller may not see is refused before it is read", async () => {
    const { edge } = takingEdge();
    edge.answers.describe = () => refusal("not_authenticated");
    expect((await edge.problem("POST", JOBS, ...form("broken")))[0]).toBe(401);
  });
});

describe("a batch of submits", () => {
  it("refuses only the job that is nested too deep, however deep (H13e)", async () => {
    const { edge } = takingEdge();
    edge.answers.submit = ({ args }) =>
      (args[1] as Submitted[]).map(() => ({ ok: true, body: "{}", ulid: ULID, isRepeat: false }));
    for (const depth of [64, 100_000]) {
      for (const leaf of ["1", "1e20"]) {
        const deep = "[".repeat(depth) + leaf + "]".repeat(depth);
        const body = `{"jobs":[{"input":{"n":1}},{"input":{"deep":${deep}}},{"input":{"n":2}}]}`;
        const response = await edge.request("POST", `${JOBS}/batch`, body);
        expect(response.status).toBe(202);
        const { jobs } = (await response.json()) as {
          jobs: { job?: object; error?: { code: string; detail: string } }[];
        };
        expect(jobs.map(({ error }) => error?.code)).toEqual([
          undefined,
          "invalid_json",
          undefined,
        ]);
        expect(jobs[1]?.error?.detail).toContain("nested");
      }
    }
  });

  it("has one answer for each job in order, and asks the space once (H13, H13a)", async () => {
    const { edge, submitted } = takingEdge();
    edge.answers.submit = ({ args }) =>
      (args[1] as Submitted[]).map(({ input }) =>
        input.includes("full")
          ? refusal("queue_full", "Full.")
          : { ok: true, body: `{"input":${input}}`, ulid: ULID, isRepeat: false },
      );
    const jobs = [{ input: { n: 1 } }, { input: 7 }, { input: { full: 1 } }, { input: { n: 2 } }];
    const response = await edge.request("POST", `${JOBS}/batch`, { jobs });
    expect(response.status).toBe(202);
    const answer = await response.json<{ jobs: { job?: unknown; error?: { code: string } }[] }>();
    expect(answer.jobs.map(({ job, error }) => job ?? error?.code)).toEqual([
      { input: { n: 1 } },
      "invalid_request",
      "queue_full",
      { input: { n: 2 } },
    ]);
    expect(edge.argsOf("submit")).toHaveLength(1);
    expect(submitted()).toHaveLength(3);
  });

  it("whose first job is refused has its error, and accepts the others (H13a)", async () => {
    const { edge } = takingEdge();
    edge.answers.submit = () => [
      refusal("idempotency_key_reused"),
      { ok: true, body: '{"n":1}', ulid: ULID, isRepeat: false },
    ];
    const jobs = [{ input: {} }, { input: {} }];
    const response = await edge.request("POST", `${JOBS}/batch`, { jobs });
    expect(await response.json()).toMatchObject({
      jobs: [{ error: { code: "idempotency_key_reused", status: 409 } }, { job: { n: 1 } }],
    });
  });

  it("of wrong jobs alone still asks whether the caller may submit (H13b)", async () => {
    const { edge } = takingEdge();
    edge.answers.describe = () => refusal("not_authenticated");
    const [status] = await edge.problem("POST", `${JOBS}/batch`, { jobs: [{ input: 7 }] });
    expect(status).toBe(401);
    expect(edge.argsOf("submit")).toEqual([]);
  });
});
