import { evictDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { signedFileUrl } from "../../src/files/signed-url.ts";
import { connectWorker, expectStatus, makeSpace, objectOf, problemOf } from "./support.ts";

const BYTES = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 7) % 256);
const SUM = createHash("sha256").update(BYTES);
const SHA256 = SUM.copy().digest("hex");
const DIGEST = `sha-256=:${SUM.digest("base64")}:`;

/** Submits a job with a file and dispatches it to a worker. */
async function dispatchFile() {
  const space = await makeSpace({ enable_file_upload: true, offline: "queue" });
  const form = new FormData();
  form.append("image", new File([BYTES], "cat.png", { type: "image/png" }));
  const url = `https://edge.test/api/spaces/${space.name}/jobs`;
  await expectStatus(202, await exports.default.fetch(url, { method: "POST", body: form }));
  const { socket: worker } = await connectWorker(space);
  const { job_id, attempt, files } = await worker.next("job");
  const [file] = files as { url: string; sha256: string }[];
  if (!file) throw new Error("no file");
  return { space, worker, ref: { job_id, attempt }, file };
}

function fetchFile(url: string, headers: Record<string, string> = {}, method = "GET") {
  return exports.default.fetch(url, { headers, method });
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  return new Uint8Array(await response.arrayBuffer());
}

describe("a file", () => {
  it("comes with its checksum: in the `job` frame, and as a header of every answer (W14b, W14e)", async () => {
    const { file } = await dispatchFile();
    expect(file.sha256).toBe(SHA256);
    const whole = await expectStatus(200, await fetchFile(file.url));
    expect(whole.headers.get("repr-digest")).toBe(DIGEST);
    expect(whole.headers.get("accept-ranges")).toBe("bytes");
    expect(await bytesOf(whole)).toEqual(BYTES);
    const head = await expectStatus(200, await fetchFile(file.url, {}, "HEAD"));
    const names = ["content-length", "etag", "repr-digest", "accept-ranges"];
    for (const name of names) expect(head.headers.get(name)).toBe(whole.headers.get(name));
    expect(head.headers.get("content-length")).toBe("70000");
    expect(await head.text()).toBe("");
  });

  it("comes in parts (W14e)", async () => {
    const { file } = await dispatchFile();
    const etag = (await fetchFile(file.url, {}, "HEAD")).headers.get("etag") ?? "";
    for (const [range, first, end] of [
      ["bytes=0-0", 0, 1],
      ["bytes=100-199", 100, 200],
      ["bytes=69999-", 69_999, 70_000],
      ["bytes=-10", 69_990, 70_000],
      ["bytes=60000-99999", 60_000, 70_000],
    ] as const) {
      const part = await expectStatus(206, await fetchFile(file.url, { range, "if-range": etag }));
      expect(Object.fromEntries(part.headers)).toMatchObject({
        "content-range": `bytes ${first}-${end - 1}/70000`,
        "content-length": String(end - first),
        "repr-digest": DIGEST,
        etag,
      });
      expect(await bytesOf(part)).toEqual(BYTES.subarray(first, end));
    }
  });

  it("comes whole if the range is none, is several, or is of another content (W14e)", async () => {
    const { file } = await dispatchFile();
    const requests: Record<string, string>[] = [
      { range: "bytes=0-1,4-5" },
      { range: "lines=1-2" },
      { range: "bytes=9-2" },
      { range: "bytes=100-", "if-range": '"another"' },
      { range: "bytes=100-", "if-range": "Sun, 29 Nov 2026 12:00:00 GMT" },
    ];
    for (const headers of requests) {
      const whole = await expectStatus(200, await fetchFile(file.url, headers));
      expect(await bytesOf(whole)).toEqual(BYTES);
    }
  });

  it("has no bytes behind its end: 416 says how many it has (W14e)", async () => {
    const { file } = await dispatchFile();
    for (const range of ["bytes=70000-", "bytes=-0"]) {
      const answer = await fetchFile(file.url, { range });
      expect(answer.headers.get("content-range")).toBe("bytes */70000");
      expect(await problemOf(416, Promise.resolve(answer))).toMatchObject({
        code: "range_not_satisfiable",
      });
    }
  });

  it("is refused in parts and by HEAD as it is whole; an expired address is called so (W14a, W14d)", async () => {
    const { file } = await dispatchFile();
    const { pathname, origin } = new URL(file.url);
    const key = pathname.slice("/api/files/".length);
    const expired = signedFileUrl(env.SIGNING_KEY, origin, key, Date.now() - 1_001);
    const range = { range: "bytes=0-9" };
    for (const answer of [fetchFile(expired), fetchFile(expired, range)]) {
      expect((await problemOf(403, answer)).detail).toMatch(/expired/);
    }
    expect((await problemOf(403, fetchFile(origin + pathname, range))).detail).toMatch(/signature/);
    expect((await fetchFile(expired, {}, "HEAD")).status).toBe(403);
    await env.FILES.delete(key);
    for (const answer of [fetchFile(file.url), fetchFile(file.url, range)]) {
      expect((await problemOf(404, answer)).code).toBe("file_not_found");
    }
    expect((await fetchFile(file.url, {}, "HEAD")).status).toBe(404);
  });

  it("has new addresses for a worker that is resumed after the edge was away (W26c)", async () => {
    const { space, worker, ref, file } = await dispatchFile();
    await evictDurableObject(objectOf(space), { webSockets: "close" });
    await worker.closed;
    const { registered } = await connectWorker(space, { resume: [ref] });
    const [entry] = registered.resumed as { file_urls: string[] }[];
    expect(entry?.file_urls).toHaveLength(1);
    const expiresOf = (url = "") => Number(new URL(url).searchParams.get("expires"));
    expect(expiresOf(entry?.file_urls[0])).toBeGreaterThan(expiresOf(file.url));
    const answer = await expectStatus(200, await fetchFile(entry?.file_urls[0] ?? ""));
    expect(await bytesOf(answer)).toEqual(BYTES);
  });

  it("keeps its addresses if only the connection broke (W26c)", async () => {
    const { space, worker, ref } = await dispatchFile();
    worker.close(4000);
    const { registered } = await connectWorker(space, { resume: [ref] });
    expect(registered.resumed).toMatchObject([ref]);
    expect(registered.resumed).not.toMatchObject([{ file_urls: expect.anything() }]);
  });
});
