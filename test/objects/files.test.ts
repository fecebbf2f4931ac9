import { runDurableObjectAlarm } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { signedFileUrl } from "../../src/files/signed-url.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { SpaceSettings } from "../../src/protocol/resources.ts";
import {
  call,
  connectWorker,
  expectStatus,
  makeSpace,
  type NamedSpace,
  OPERATOR,
  objectOf,
  problemOf,
  runSql,
  submit,
  type WorkerSpace,
} from "./support.ts";

const BYTES = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 7) % 256);

function makeFileSpace(settings: Partial<SpaceSettings> = {}) {
  return makeSpace({ enable_file_upload: true, offline: "queue", ...settings });
}

function sendForm(
  space: NamedSpace,
  body: FormData | string,
  headers: Record<string, string> = {},
): Promise<Response> {
  const url = `https://edge.test/api/spaces/${space.name}/jobs`;
  return exports.default.fetch(url, { method: "POST", body, headers });
}

function formOf(parts: Record<string, string | File | File[]>): FormData {
  const form = new FormData();
  for (const [field, part] of Object.entries(parts)) {
    for (const value of [part].flat()) {
      if (typeof value === "string") form.append(field, value);
      else form.append(field, value, value.name);
    }
  }
  return form;
}

function imageOf(bytes: string | Uint8Array = BYTES, name = "cat.png"): File {
  return new File([bytes], name, { type: "image/png" });
}

async function submitFile(space: NamedSpace, file = imageOf()) {
  const answer = await expectStatus(202, await sendForm(space, formOf({ image: file })));
  return answer.json<{ id: string; files: { name: string }[] }>();
}

async function storedKeys(space: NamedSpace): Promise<string[]> {
  const { objects } = await env.FILES.list({ prefix: `spaces/${space.name}/` });
  return objects.map(({ key }) => key);
}

interface WorkerFile {
  field: string;
  name: string;
  content_type: string;
  size: number;
  url: string;
}

/** Until when an address of a file is valid, milliseconds since 1970. */
function expiryOf(url: string): number {
  return Number(new URL(url).searchParams.get("expires")) * 1_000;
}

/** Connects a worker and returns the files of its next job, as the `job` frame lists them. */
async function filesForWorker(space: WorkerSpace): Promise<WorkerFile[]> {
  const { socket } = await connectWorker(space);
  return (await socket.next("job")).files as WorkerFile[];
}

describe("a job submitted as a form", () => {
  it("has its text parts as input and options, and its files in the bucket (H6)", async () => {
    const space = await makeFileSpace({ enable_audio: true });
    const form = formOf({
      prompt: "a cat",
      seed: "7",
      input: JSON.stringify({ steps: 30, nested: { on: true } }),
      priority: "5",
      job_timeout_s: "9.5",
      cancel_on_disconnect: "true",
      image: imageOf(),
      audio: new File(["la"], "song.mp3", { type: "audio/mpeg" }),
    });
    const answer = await expectStatus(202, await sendForm(space, form));
    const image = { field: "image", name: "cat.png", content_type: "image/png", size: 70_000 };
    const audio = { field: "audio", name: "song.mp3", content_type: "audio/mpeg", size: 2 };
    const body = await answer.json<{ files: object[] }>();
    expect(body).toMatchObject({
      input: { prompt: "a cat", seed: "7", steps: 30, nested: { on: true } },
      priority: 5,
      files: [image, audio],
    });
    expect(body.files.flatMap(Object.keys)).not.toContain("key");
    const [row] = await runSql<{ limits: string }>(space, "SELECT limits FROM jobs");
    expect(JSON.parse(row?.limits ?? "")).toMatchObject({ jobTimeoutS: 9.5 });
    expect(await storedKeys(space)).toHaveLength(2);
  });

  it("gives its worker an address that serves the exact bytes, without a key, as an attachment (W14)", async () => {
    const space = await makeFileSpace();
    await submitFile(space);
    const [file] = await filesForWorker(space);
    expect(file).toMatchObject({ field: "image", name: "cat.png", size: 70_000 });
    expect(file?.url).toMatch(/^https:\/\/edge\.test\/api\/files\/spaces\//);
    const served = await expectStatus(200, await exports.default.fetch(file?.url ?? ""));
    expect(new Uint8Array(await served.arrayBuffer())).toEqual(BYTES);
    expect(Object.fromEntries(served.headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": "attachment",
      "content-length": "70000",
      "x-content-type-options": "nosniff",
      "cache-control": "private, no-store",
    });
  });

  it("may have an empty file, and two files in the same field", async () => {
    const space = await makeFileSpace();
    const form = formOf({ image: [imageOf(""), imageOf("second", "b.png")] });
    await expectStatus(202, await sendForm(space, form));
    const files = await filesForWorker(space);
    expect(files).toMatchObject([
      { field: "image", name: "cat.png", size: 0 },
      { field: "image", name: "b.png", size: 6 },
    ]);
    const texts = await Promise.all(
      files.map(async ({ url }) => {
        const served = await exports.default.fetch(url);
        return new TextDecoder().decode(await served.arrayBuffer());
      }),
    );
    expect(texts).toEqual(["", "second"]);
  });
});

describe("the address of a file", () => {
  async function signed() {
    const space = await makeFileSpace();
    await submitFile(space);
    await submitFile(space, imageOf("another"));
    const [file] = await filesForWorker(space);
    return { space, url: new URL(file?.url ?? "") };
  }

  function fetchChanged(url: URL, change: (url: URL) => void): Promise<Response> {
    const changed = new URL(url);
    change(changed);
    expect(changed.href).not.toBe(url.href);
    return exports.default.fetch(changed.href);
  }

  it("is refused if its path, its expiry or its signature was changed (W14a)", async () => {
    const { space, url } = await signed();
    const [firstKey, secondKey] = await storedKeys(space);
    const other = url.pathname.endsWith(String(firstKey)) ? secondKey : firstKey;
    const { searchParams } = url;
    const later = String(Number(searchParams.get("expires")) + 1);
    const signature = searchParams.get("signature") ?? "";
    const flipped = (signature.startsWith("A") ? "B" : "A") + signature.slice(1);
    for (const change of [
      (to: URL) => {
        to.pathname = `/api/files/${other}`;
      },
      (to: URL) => to.searchParams.set("expires", later),
      (to: URL) => to.searchParams.set("expires", ` ${later}`),
      (to: URL) => to.searchParams.set("signature", flipped),
      (to: URL) => to.searchParams.set("signature", signature.slice(0, -1)),
      (to: URL) => to.searchParams.delete("signature"),
      (to: URL) => to.searchParams.delete("expires"),
      (to: URL) => {
        to.search = "";
      },
    ]) {
      expect(await problemOf(403, fetchChanged(url, change))).toMatchObject({
        code: "not_allowed",
      });
    }
    await expectStatus(200, await exports.default.fetch(url.href));
  });

  it("is valid until a minute after the deadline of its attempt, because clocks differ (W14a)", async () => {
    const space = await makeFileSpace({ job_timeout_s: 90 });
    await submitFile(space);
    const { socket } = await connectWorker(space);
    const job = await socket.next("job");
    const [file] = job.files as WorkerFile[];
    const more = expiryOf(file?.url ?? "") - Date.parse(String(job.deadline));
    expect(more).toBeGreaterThanOrEqual(60_000);
    expect(more).toBeLessThan(61_000);
  });

  it("expires at the time that it names (W14a)", async () => {
    const { space, url } = await signed();
    const [key = ""] = await storedKeys(space);
    const sign = (expiresAt: number) =>
      exports.default.fetch(signedFileUrl(env.SIGNING_KEY, url.origin, key, expiresAt));
    await expectStatus(200, await sign(Date.now() + 60_000));
    await problemOf(403, sign(Date.now() - 1_001));
  });

  it("is refused if it was signed with another secret (W14a)", async () => {
    const { space, url } = await signed();
    const [key = ""] = await storedKeys(space);
    const forged = signedFileUrl("x".repeat(32), url.origin, key, Date.now() + 60_000);
    await problemOf(403, exports.default.fetch(forged));
  });
});

describe("a form that is refused", () => {
  it("leaves nothing in the bucket, whatever the reason (H3, H6a)", async () => {
    const refusing = { offline: "refuse" } as const;
    const full = await makeFileSpace({ max_queue: 1 });
    await submit(full.name);
    const closed = await makeSpace({ offline: "queue" });
    const noPrompt = await makeFileSpace({ enable_prompt: false });
    const open = await makeFileSpace();
    const big = JSON.stringify({ text: "x".repeat(LIMITS.inputBytes) });
    for (const [space, form, status, code] of [
      [await makeFileSpace(refusing), {}, 409, "worker_not_connected"],
      [full, {}, 429, "queue_full"],
      [closed, {}, 422, "file_upload_not_enabled"],
      [open, { audio: imageOf() }, 422, "audio_not_enabled"],
      [open, { video: imageOf() }, 422, "video_not_enabled"],
      [noPrompt, { prompt: "a cat" }, 422, "prompt_not_enabled"],
      [open, { priority: "high" }, 422, "invalid_request"],
      [open, { input: "[1]" }, 422, "invalid_request"],
      [open, { input: "{" }, 422, "invalid_request"],
      [open, { input: big }, 413, "payload_too_large"],
    ] as const) {
      const answer = sendForm(space, formOf({ image: imageOf(), ...form }));
      expect(await problemOf(status, answer)).toMatchObject({ code });
      expect(await storedKeys(space)).toEqual([]);
    }
  });

  it("has more files than a job may have, while one file fewer is accepted", async () => {
    const space = await makeFileSpace();
    const files = Array.from({ length: LIMITS.filesPerJob + 1 }, () => imageOf("x"));
    const tooMany = sendForm(space, formOf({ image: files }));
    expect(await problemOf(422, tooMany)).toMatchObject({ code: "invalid_request" });
    expect(await storedKeys(space)).toEqual([]);
    await expectStatus(202, await sendForm(space, formOf({ image: files.slice(1) })));
    expect(await storedKeys(space)).toHaveLength(LIMITS.filesPerJob);
  });

  it("can't be read, or is larger than an upload may be (H3)", async () => {
    const space = await makeFileSpace();
    const headers = { "content-type": "multipart/form-data; boundary=there" };
    for (const body of ["", "no boundary", "--there\r\nbroken"]) {
      expect(await problemOf(400, sendForm(space, body, headers))).toMatchObject({
        code: "invalid_multipart",
      });
    }
    const declared = { ...headers, "content-length": String(LIMITS.uploadBytes + 1) };
    expect(await problemOf(413, sendForm(space, "--there", declared))).toMatchObject({
      code: "payload_too_large",
    });
    expect(await storedKeys(space)).toEqual([]);
  });

  it("comes without the operator's key to a private space (H1a)", async () => {
    const space = await makeFileSpace({ visibility: "private" });
    await problemOf(401, sendForm(space, formOf({ image: imageOf() })));
    expect(await storedKeys(space)).toEqual([]);
    await expectStatus(202, await sendForm(space, formOf({ image: imageOf() }), OPERATOR));
  });
});

describe("the name of a file", () => {
  it("is reduced to its last part, without control characters", async () => {
    const space = await makeFileSpace();
    for (const [sentName, storedName] of [
      ["../../etc/passwd", "passwd"],
      ["/etc/", "file"],
      ["a\u0007b\u001b[31m.txt", "ab[31m.txt"],
      ["photo\u202egnp.exe", "photognp.exe"],
      ["..", "file"],
      [" ", "file"],
      ["Grüße 猫.png", "Grüße 猫.png"],
      [`${"x".repeat(200)}.png`, `${"x".repeat(116)}.png`],
    ] as const) {
      const { files } = await submitFile(space, imageOf("x", sentName));
      expect(files.map(({ name }) => name)).toEqual([storedName]);
    }
    const keys = await storedKeys(space);
    for (const key of keys) expect(key).toMatch(/^spaces\/[a-z0-9-]+\/inputs\/[0-9A-Z]{26}\/\d+$/);
  });

  it("and its type are cleaned if a client wrote the form by hand", async () => {
    const space = await makeFileSpace();
    for (const [disposition, type, file] of [
      ['filename="C:\\\\temp\\\\cat.png"', "image/png", { name: "cat.png" }],
      ['filename="a\u0007b"', "text/html; charset=x", { name: "ab" }],
      ['filename="a"', "<script>", { name: "a", content_type: "application/octet-stream" }],
    ] as const) {
      const body = [
        "--there",
        `Content-Disposition: form-data; name="image"; ${disposition}`,
        `Content-Type: ${type}`,
        "",
        "bytes",
        "--there--",
        "",
      ].join("\r\n");
      const headers = { "content-type": "multipart/form-data; boundary=there" };
      const answer = await expectStatus(202, await sendForm(space, body, headers));
      expect(await answer.json()).toMatchObject({ files: [file] });
    }
  });
});

describe("a file is removed", () => {
  it("with its space", async () => {
    const [space, other] = [await makeFileSpace(), await makeFileSpace()];
    await submitFile(space);
    await submitFile(other);
    const [file] = await filesForWorker(space);
    await call("DELETE", `/api/spaces/${space.name}`, undefined, OPERATOR);
    expect(await storedKeys(space)).toEqual([]);
    expect(await storedKeys(other)).toHaveLength(1);
    expect(await problemOf(404, exports.default.fetch(file?.url ?? ""))).toMatchObject({
      code: "file_not_found",
    });
  });

  it("with its job, when the job's `result_ttl_s` has passed", async () => {
    const space = await makeFileSpace({ result_ttl_s: 3_600 });
    const over = await submitFile(space);
    const waiting = await submitFile(space);
    await call("POST", `/api/jobs/${over.id}/cancel`);
    expect(await storedKeys(space)).toHaveLength(2);
    await runSql(space, "UPDATE jobs SET completed_at = completed_at - 3600000");
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    await problemOf(404, call("GET", `/api/jobs/${over.id}`));
    await expectStatus(200, await call("GET", `/api/jobs/${waiting.id}`));
    expect(await storedKeys(space)).toHaveLength(1);
  });
});
