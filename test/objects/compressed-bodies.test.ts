import { exports } from "cloudflare:workers";
import { deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { FORM_WRITERS } from "../http/form-writers.ts";
import { expectStatus, makeSpace, OPERATOR, problemOf } from "./support.ts";

const COMPRESS = { gzip: gzipSync, "X-GZIP": gzipSync, deflate: deflateSync };

function send(path: string, body: Uint8Array<ArrayBuffer>, headers: Record<string, string>) {
  const url = `https://edge.test${path}`;
  return exports.default.fetch(url, { method: "POST", body, headers });
}

function bytesOf(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value)) as Uint8Array<ArrayBuffer>;
}

function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

const json = (coding: string) => ({
  "content-type": "application/json",
  "content-encoding": coding,
});

describe("a compressed body", () => {
  it.each(Object.entries(COMPRESS))(
    "in %s is read as JSON, as a batch, as a form and as events (H2a)",
    async (coding, compress) => {
      const { name } = await makeSpace({ offline: "queue", enable_file_upload: true });
      const jobs = `/api/spaces/${name}/jobs`;
      const job = { input: { prompt: "a cat".repeat(1_000) } };
      const single = await send(jobs, copyOf(compress(bytesOf(job))), json(coding));
      expect(await (await expectStatus(202, single)).json()).toMatchObject(job);
      const batch = copyOf(compress(bytesOf({ jobs: [job, job] })));
      const answers = await send(`${jobs}/batch`, batch, json(coding));
      expect(await (await expectStatus(202, answers)).json()).toMatchObject({
        jobs: [{ job }, { job }],
      });
      const form = FORM_WRITERS.curl?.([
        { name: "image", fileName: "a.png", content: new Uint8Array(70_000) },
      ]);
      if (!form) throw new Error("no form");
      const headers = { "content-type": form.contentType, "content-encoding": coding };
      const upload = await send(jobs, copyOf(compress(form.body)), headers);
      expect(await (await expectStatus(202, upload)).json()).toMatchObject({
        files: [{ name: "a.png", size: 70_000 }],
      });
      const event = copyOf(compress(bytesOf({ type: "note.made", data: { n: 1 } })));
      const room = `/api/rooms/note:${crypto.randomUUID()}/events`;
      await expectStatus(201, await send(room, event, { ...json(coding), ...OPERATOR }));
    },
  );

  it("may be of several gzip members, as `cat a.gz b.gz` makes it", async () => {
    const { name } = await makeSpace({ offline: "queue" });
    const text = '{"input":{"n":1}}';
    const members = [text.slice(0, 5), text.slice(5)].map((piece) => gzipSync(piece));
    const body = copyOf(Buffer.concat(members));
    await expectStatus(202, await send(`/api/spaces/${name}/jobs`, body, json("gzip")));
  });

  it.each(["identity", "", "Identity, gzip"])(
    "that is declared as %j is not refused for that (H2a)",
    async (coding) => {
      const { name } = await makeSpace({ offline: "queue" });
      const plain = bytesOf({ input: {} });
      const body = coding.includes("gzip") ? copyOf(gzipSync(plain)) : plain;
      await expectStatus(202, await send(`/api/spaces/${name}/jobs`, body, json(coding)));
    },
  );

  it.each(["br", "zstd", "gzip, gzip", "aes128gcm", "__proto__"])(
    "in %j is refused with the codings that there are (H2b)",
    async (coding) => {
      const { name } = await makeSpace({ offline: "queue" });
      const answer = await send(`/api/spaces/${name}/jobs`, bytesOf({ input: {} }), json(coding));
      expect(answer.headers.get("accept-encoding")).toBe("gzip, deflate");
      const problem = await problemOf(415, Promise.resolve(answer));
      expect(problem.code).toBe("unsupported_media_type");
      expect(problem.detail).toContain("gzip, deflate");
    },
  );

  it("in deflate may lack the header of zlib, as .NET's DeflateStream writes it", async () => {
    const { name } = await makeSpace({ offline: "queue" });
    const jobs = `/api/spaces/${name}/jobs`;
    const whole = copyOf(deflateRawSync(bytesOf({ input: { prompt: "a cat" } })));
    await expectStatus(202, await send(jobs, whole, json("deflate")));
    const cut = await problemOf(400, send(jobs, whole.slice(0, -3), json("deflate")));
    expect(cut.code).toBe("invalid_encoding");
  });

  it("that is broken, cut off or not compressed at all is refused as such (H3)", async () => {
    const { name } = await makeSpace({ offline: "queue" });
    const whole = copyOf(gzipSync(bytesOf({ input: { prompt: "a cat" } })));
    const flipped = whole.slice();
    flipped[14] = (flipped[14] ?? 0) ^ 0xff;
    const broken = [whole.slice(0, -9), whole.slice(0, 5), flipped, bytesOf({ input: {} })];
    for (const body of [...broken, new Uint8Array(0)]) {
      const problem = await problemOf(400, send(`/api/spaces/${name}/jobs`, body, json("gzip")));
      expect(problem.code).toBe("invalid_encoding");
    }
    expect(
      await problemOf(400, send(`/api/spaces/${name}/jobs`, whole, json("deflate"))),
    ).toMatchObject({ code: "invalid_encoding" });
  });

  it("may have as many bytes as one that is not compressed, and not one more (H2c)", async () => {
    const { name } = await makeSpace({ offline: "queue" });
    const padded = (size: number) => {
      const text = '{"input":{}}';
      return copyOf(gzipSync(text + " ".repeat(size - text.length)));
    };
    const path = `/api/spaces/${name}/jobs`;
    await expectStatus(202, await send(path, padded(LIMITS.jsonBodyBytes), json("gzip")));
    const over = send(path, padded(LIMITS.jsonBodyBytes + 1), json("gzip"));
    expect(await problemOf(413, over)).toMatchObject({ code: "payload_too_large" });
  });

  it("that would become gigabytes is refused after its limit (H2c)", async () => {
    const { name } = await makeSpace({ offline: "queue" });
    const member = gzipSync(new Uint8Array(64 * 1_048_576), { level: 9 });
    // Each member alone is far over the limit; all of them are 4 GB.
    const bomb = copyOf(Buffer.concat(Array.from({ length: 64 }, () => member)));
    const forms = [
      json("gzip"),
      { ...json("gzip"), "content-type": "multipart/form-data; boundary=b" },
    ];
    for (const headers of forms) {
      const answer = send(`/api/spaces/${name}/jobs`, bomb.slice(), headers);
      expect(await problemOf(413, answer)).toMatchObject({ code: "payload_too_large" });
    }
  });
});

describe("a body whose `content-length` is false", () => {
  it("is bounded by what it really has", async () => {
    const { name } = await makeSpace({ offline: "queue" });
    const body = bytesOf({ input: { a: "x".repeat(LIMITS.jsonBodyBytes) } });
    const headers = { "content-type": "application/json", "content-length": "20" };
    const answer = await send(`/api/spaces/${name}/jobs`, body, headers);
    expect(answer.status).toBe(413);
  });
});
