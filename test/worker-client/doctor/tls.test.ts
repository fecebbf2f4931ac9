import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { makeCertificate } from "../../support/certificates.ts";
import { complaints, examine, SPACE, startFakeEdge, TOKEN } from "./place.ts";

const CLI = join(import.meta.dirname, "../../../worker-client/cli.ts");

/** Runs the program itself: which authorities are trusted is decided when it starts. */
async function runDoctor(args: string[], env: Record<string, string> = {}) {
  const given = {
    PATH: process.env.PATH ?? "",
    DIALOUT_TOKEN: TOKEN,
    DIALOUT_SPACE: SPACE,
    ...env,
  };
  const child = spawn(process.execPath, [CLI, "doctor", ...args], { env: given });
  onTestFinished(() => void child.kill("SIGKILL"));
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (piece: string) => {
      printed += piece;
    });
  }
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, printed };
}

async function trusting(cert: string): Promise<Record<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), "doctor-test-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "authority.pem");
  await writeFile(path, cert);
  return { NODE_EXTRA_CA_CERTS: path };
}

describe("a certificate", () => {
  test("that nobody vouches for is named as that", async () => {
    const edge = await startFakeEdge({ tls: makeCertificate() });
    const found = await examine(edge.url);
    expect(complaints(found)).toEqual([
      expect.stringMatching(
        /^tls wrong: the certificate of localhost is self-signed.*NODE_EXTRA_CA_CERTS/,
      ),
    ]);
    expect(edge.asked).toEqual([]);
  });

  test("that has expired is named with the day", async () => {
    const edge = await startFakeEdge({ tls: makeCertificate({ until: "20210203000000Z" }) });
    const [complaint] = complaints(await examine(edge.url));
    expect(complaint).toMatch(/tls wrong: .*(self-signed|expired on 2021-02-03)/);
  });

  test("of an authority that is trusted is in order, and the program ends with 0", async () => {
    const tls = makeCertificate();
    const edge = await startFakeEdge({ tls });
    const { code, printed } = await runDoctor(["--url", edge.url], await trusting(tls.cert));
    expect(printed).toContain("the certificate of localhost is valid until 2090-01-01");
    expect(printed).toContain("Everything that was looked at is in order.");
    expect(printed).not.toContain(TOKEN);
    expect(code).toBe(0);
  });

  test.each([
    [{ until: "20210203000000Z" }, "the certificate of localhost expired on 2021-02-03"],
    [{ from: "20800101000000Z" }, "the certificate of localhost is valid only from 2080-01-01 on"],
    [{ host: "other.example" }, "the certificate is for other.example, not for localhost"],
  ])("that is trusted but for %j is refused with the reason", async (options, words) => {
    const tls = makeCertificate(options);
    const edge = await startFakeEdge({ tls });
    const { code, printed } = await runDoctor(["--url", edge.url], await trusting(tls.cert));
    expect(printed).toContain(`WRONG   tls        ${words}`);
    expect(printed).toContain("One thing is wrong.");
    expect(code).toBe(1);
  });
});

describe("schemes that are mixed up", () => {
  test("https for http", async () => {
    const edge = await startFakeEdge();
    const [complaint] = complaints(await examine(edge.url.replace("http:", "https:")));
    expect(complaint).toContain(
      `tls wrong: localhost:${edge.port} speaks http, it seems: use http://`,
    );
  });

  test("http for https", async () => {
    const edge = await startFakeEdge({ tls: makeCertificate() });
    const [complaint] = complaints(await examine(edge.url.replace("https:", "http:")));
    expect(complaint).toMatch(/edge wrong: .*https/);
  });

  test.each([
    ["wss://edge.example", "write https://edge.example"],
    ["localhost:8787", "write http://localhost:8787"],
    ["https://edge.example/some/path", "this address has a path"],
  ])("%s", async (url, words) => {
    const { code, printed } = await runDoctor(["--url", url]);
    expect(printed).toContain(words);
    expect(printed).toMatch(/^WRONG {3}address/m);
    expect(code).toBe(1);
  });
});

test("without a space and a token, and with --json, each line is an object", async () => {
  const edge = await startFakeEdge();
  const none = { DIALOUT_TOKEN: "", DIALOUT_SPACE: "" };
  const { code, printed } = await runDoctor(["--json", "--url", edge.url], none);
  const found = printed
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const wrong = found.filter(({ level }) => level === "wrong").map(({ check }) => check);
  expect(wrong).toEqual(["token", "space"]);
  expect(code).toBe(1);
});
