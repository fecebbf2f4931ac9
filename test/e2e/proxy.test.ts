import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { ROOT } from "../../scripts/local.ts";
import type { JobResource } from "../../src/protocol/resources.ts";
import { freePort } from "../support/port.ts";
import { Program } from "../support/program.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";
import { makeNginxPlace, type NginxPlace, removeNginxPlace, startNginx } from "./nginx.ts";

const run = promisify(execFile);
const WORKER = join(ROOT, "dist/worker-client/cli.js");

let state: string;
let place: NginxPlace;
let edgePort: number;
let edge: RunningEdge;
let nginx: Program;
let operator: EdgeClient;

beforeAll(async () => {
  state = await makeState();
  place = await makeNginxPlace();
  edgePort = await freePort();
  const settings = { PUBLIC_URL: place.url, TRUSTED_PROXIES: "127.0.0.1" };
  [edge, nginx] = await Promise.all([
    runEdge(state, edgePort, ["--no-worker"], settings),
    startNginx(place, edgePort),
  ]);
  operator = new EdgeClient(edge.url);
});
afterAll(async () => {
  await nginx?.stop();
  await edge?.program.stop();
  removeNginxPlace(place);
  await removeState(state);
});

/** What the doctor prints about a worker of the space that would dial through nginx. */
async function examine(
  space: { name: string; token: string },
  { url, authority }: Pick<NginxPlace, "url" | "authority">,
) {
  const args = ["doctor", "--url", url, "--space", space.name];
  const env = { DIALOUT_TOKEN: space.token, NODE_EXTRA_CA_CERTS: authority };
  const doctor = new Program(WORKER, args, env);
  return { code: await doctor.exited, printed: doctor.printed };
}

/** Starts a worker that dials through nginx, as on another machine. */
function launchWorker(
  space: { name: string; token: string },
  program: string,
  { url, authority } = place,
): Program {
  const args = ["exec", "--url", url, "--space", space.name, "--", "node", "-e", program];
  const env = { DIALOUT_TOKEN: space.token, NODE_EXTRA_CA_CERTS: authority };
  const worker = new Program(WORKER, args, env);
  onTestFinished(async () => {
    await worker.stop("SIGKILL");
  });
  return worker;
}

/** Runs curl through nginx; returns what it printed. */
async function curl(path: string, ...args: string[]): Promise<string> {
  const url = `${place.url}${path}`;
  const { stdout } = await run("curl", ["-sS", "--cacert", place.authority, url, ...args]);
  return stdout;
}

/** Sends a request through nginx and returns the answer before its body has ended. */
async function open(path: string) {
  const sent = request(place.url + path, { ca: readFileSync(place.authority) }).end();
  const [response] = await once(sent, "response");
  onTestFinished(() => void sent.destroy());
  return response.setEncoding("utf8") as import("node:http").IncomingMessage;
}

describe("behind nginx with TLS, as docs/own-server.md has it", () => {
  it("a worker fetches the file of a job, also one that is larger than nginx would allow (W14c)", async () => {
    const space = await operator.makeSpace({ enable_file_upload: true });
    const program = `
      const { files } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
      console.log(require("node:fs").statSync(files[0].path).size);`;
    await launchWorker(space, program).prints("serving");
    const folder = mkdtempSync(join(tmpdir(), "dialout-file-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "large.bin");
    writeFileSync(file, Buffer.alloc(5_000_000, 7));
    const path = `/api/spaces/${space.name}/jobs/`;
    const answer = await curl(path, "-H", "Prefer: wait=30", "-F", `file=@${file}`);
    const job: JobResource = JSON.parse(answer);
    expect(job).toMatchObject({ status: "completed", output: "5000000\n" });
  });

  it("a subscriber's socket works in both directions", async () => {
    const space = await operator.makeSpace({ offline: "queue" });
    const socket = new WebSocket(
      `${place.url.replace("https", "wss")}/api/spaces/${space.name}/ws`,
      { ca: readFileSync(place.authority) },
    );
    onTestFinished(() => socket.terminate());
    const received: string[] = [];
    socket.on("message", (data) => received.push(String(data)));
    await once(socket, "open");
    socket.send("ping");
    socket.send(JSON.stringify({ type: "submit", ref: 1, input: {} }));
    await expect.poll(() => received.join("\n")).toContain('"accepted"');
    expect(received).toContain("pong");
  });

  it("events come one by one, while the job still runs", async () => {
    const space = await operator.makeSpace({ offline: "queue" });
    const { id } = await operator.submit(space.name, {});
    const events = await open(`/api/jobs/${id}/events`);
    let text = "";
    events.on("data", (piece: string) => {
      text += piece;
    });
    await expect.poll(() => text).toContain("queued");
    const worker = launchWorker(space, "console.log('first'); setInterval(() => {}, 1000)");
    await expect.poll(() => text, { timeout: 30_000 }).toContain("first");
    expect((await operator.job(id)).status).toBe("processing");
    await worker.stop("SIGKILL");
  });

  it("the page of a space works: its scripts, its form and its socket", async () => {
    const space = await operator.makeSpace();
    await launchWorker(space, "console.log('from the worker')").prints("serving");
    const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
    const args = ["--no-sandbox", "--disable-gpu", "--disable-quic"];
    const browser = await chromium.launch({ executablePath, args });
    onTestFinished(() => browser.close());
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    await page.goto(`${place.url}/spaces/${space.name}/`);
    expect(page.url()).toBe(`${place.url}/spaces/${space.name}`);
    await page.getByTestId("prompt").fill("hello");
    await page.getByTestId("submit").click();
    await page.getByText("from the worker").first().waitFor();
  });

  it("strangers have no local rights (H9c)", async () => {
    const space = await operator.makeSpace({ offline: "queue" });
    const body = JSON.stringify({ input: {}, webhook: "http://127.0.0.1:9/" });
    const type = "content-type: application/json";
    const answer = await curl(`/api/spaces/${space.name}/jobs`, "-H", type, "-d", body);
    expect(JSON.parse(answer)).toMatchObject({ status: 422, code: "invalid_request" });
  });

  it("the runtime's own tools are shown to nobody", async () => {
    const status = ["-o", "/dev/null", "-w", "%{http_code}"];
    for (const path of ["/cdn-cgi/explorer", "/cdn-cgi/local/explorer", "/cdn-cgi/explorer/api"]) {
      expect(await curl(path, ...status)).toBe("404");
      expect((await fetch(edge.url + path)).status).toBe(404);
    }
    // Not reached under another name, either.
    const disguise = ["-H", `MF-Original-URL: ${edge.url}/cdn-cgi/local/explorer`];
    expect(await curl("/healthz", ...disguise)).toBe('{"status":"ok"}');
  });

  it("the doctor finds nothing wrong, and says so where http: is given or the authority is unknown", async () => {
    const space = await operator.makeSpace();
    const right = await examine(space, place);
    expect(right).toMatchObject({ code: 0, printed: expect.stringContaining("Nothing is wrong") });
    expect(right.printed).toMatch(/warning tls .* expires on/);
    expect(right.printed).toContain("this machine's clock agrees with the edge's");
    const plain = { ...place, url: place.url.replace("https:", "http:") };
    expect((await examine(space, plain)).printed).toMatch(/WRONG {3}edge .*https/);
    const unknown = await examine(space, { ...place, authority: "/dev/null" });
    expect(unknown.printed).toMatch(/WRONG {3}tls .*self-signed/);
  });

  it("http: leads to https:, with the method kept", async () => {
    const answer = await fetch(`http://localhost:${place.httpPort}/api/spaces`, {
      method: "POST",
      redirect: "manual",
    });
    expect(answer.status).toBe(308);
    expect(answer.headers.get("location")).toBe("https://localhost/api/spaces");
  });

  it("a restart of nginx interrupts no job, and is reported once", async () => {
    const space = await operator.makeSpace();
    const folder = mkdtempSync(join(tmpdir(), "dialout-wait-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const sign = join(folder, "go-on");
    const program = `
      console.log("begun");
      const wait = () => require("node:fs").existsSync(${JSON.stringify(sign)}) || setTimeout(wait, 50);
      wait();`;
    const worker = launchWorker(space, program);
    await worker.prints("serving");
    const { id } = await operator.submit(space.name, {});
    await worker.prints("received");
    await nginx.stop();
    await worker.prints(/connection closed.*nothing listens at/s);
    nginx = await startNginx(place, edgePort);
    await worker.prints("1 resumed");
    writeFileSync(sign, "");
    expect(await operator.ended(id)).toMatchObject({ status: "completed", attempt: 1 });
    expect(worker.printed.match(/nothing listens at/g)).toHaveLength(1);
  });
});

describe("behind a proxy that drops the upgrade", () => {
  it("a worker and its doctor say what the proxy must be told (W4)", async () => {
    const wrong = await makeNginxPlace();
    const proxy = await startNginx(wrong, edgePort, (block) =>
      block.replace(/.*proxy_set_header (Upgrade|Connection) .*\n/g, ""),
    );
    onTestFinished(async () => {
      await proxy.stop();
      removeNginxPlace(wrong);
    });
    const space = await operator.makeSpace();
    const worker = launchWorker(space, "", wrong);
    await worker.prints(/A proxy in between must pass both on/);
    const { code, printed } = await examine(space, wrong);
    expect(printed).toMatch(
      /WRONG {3}websocket .*a proxy in between drops it\n.*help: .*own-server/,
    );
    expect(code).toBe(1);
  });
});
