import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { paste, sampleOf } from "./samples.ts";

const JOB = "my-space.01JZZZZZZZZZZZZZZZZZZZZZZZ";
const event = (offset: number) => `id: e:${offset}\nevent: output\ndata: {"offset":${offset}}\n`;
const STREAM = { "content-type": "text/event-stream" };

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "dialout-samples-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Serves one answer after the other to those who follow the job; returns the positions that they named. */
async function serve(answers: ((response: ServerResponse) => void)[]) {
  const positions: string[] = [];
  const server = createServer((request, response) => {
    if (request.method === "POST") {
      response.writeHead(202, { "content-type": "application/json" }).end(`{"id":"${JOB}"}`);
      return;
    }
    positions.push(String(request.headers["last-event-id"] ?? ""));
    answers.shift()?.(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { positions, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Sends the beginning of a stream and breaks the connection. */
function breakAfter(text: string) {
  return (response: ServerResponse) => {
    response.writeHead(200, STREAM).write(text, () => response.destroy());
  };
}

describe("the subscriber with curl of docs/protocol.md", () => {
  const code = sampleOf("docs/protocol.md", "events.txt");

  it("keeps whole events only, over breaks, restarts, portals and dead connections (C8, C13)", async () => {
    const problem = { "content-type": "application/problem+json" };
    const { url, positions } = await serve([
      (response) =>
        response.writeHead(200, { "content-type": "text/html" }).end("<p>Log in</p>\n\n"),
      (response) => response.writeHead(503, problem).end('{"detail":"data: no"}\n\n'),
      breakAfter(`event: connection\ndata: {}\n\n${event(1)}\n${event(2)}`),
      (response) => response.writeHead(200, STREAM).write(": keep-alive\n\n"),
      (response) => response.writeHead(404, { "content-type": "text/html" }).end("no such host"),
      (response) => response.writeHead(200, STREAM).end(`${event(2)}\n${event(3)}\n`),
      (response) => response.writeHead(204).end(),
    ]);
    const quick = code.replace("--speed-time 40", "--speed-time 2").replace("sleep 1", "sleep 0");
    const printed = await paste(quick, url, { cwd: folder, strict: false });
    expect(positions).toEqual(["", "", "", "e:1", "e:1", "e:1", "e:3"]);
    const events = await readFile(join(folder, "events.txt"), "utf8");
    expect(events).toBe(`\nevent: connection\ndata: {}\n\n${[1, 2, 3].map(event).join("\n")}`);
    expect(printed).toBe(`${JOB}\n${events}`);
  });

  it("ends when there is no such job", async () => {
    const problem = { "content-type": "application/problem+json; charset=utf-8" };
    const { url } = await serve([(response) => response.writeHead(404, problem).end("{}")]);
    await paste(code, url, { cwd: folder, strict: false });
    expect(await readFile(join(folder, "events.txt"), "utf8")).toBe("");
  });
});
