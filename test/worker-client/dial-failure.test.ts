import { createServer, type RequestListener } from "node:http";
import type { AddressInfo, Server } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { describeFailure } from "../../worker-client/dial-failure.ts";
import { startWorker } from "./start.ts";

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What a worker logs first that dials this address, or why it ended. */
async function firstWords(url: string): Promise<string> {
  const { ended, logged } = startWorker({ url }, { handler: async () => null });
  const refusal = ended.then((error) => (error instanceof Error ? error.message : ""));
  const line = expect
    .poll(() => logged.find((line) => line.includes("trying again")))
    .toBeDefined()
    .then(() => logged.find((line) => line.includes("trying again")) ?? "");
  return Promise.race([refusal, line]);
}

describe("a worker that dials", () => {
  test("https: where http is spoken is told so", async () => {
    const host = await listen(createServer());
    expect(await firstWords(`https://${host}`)).toContain(
      `${host} speaks http: use http://${host}`,
    );
  });

  test("http: where https is spoken is told so", async () => {
    const host = await listen(createTlsServer());
    expect(await firstWords(`http://${host}`)).toContain(`use https://${host}`);
  });

  test.each<[string, RequestListener, string]>([
    [
      "a page",
      (_, response) => response.writeHead(404).end("<h1>Not found</h1>"),
      "no Dialout edge",
    ],
    [
      "a path of the edge that doesn't exist",
      (_, response) => response.writeHead(404).end('{"code":"not_found","detail":"Nothing."}'),
      "give the address of the edge alone",
    ],
    [
      "an address that redirects",
      (_, response) => response.writeHead(308, { location: "https://other.example/a?b" }).end(),
      "redirects to https://other.example:",
    ],
    ["a server without WebSockets", (_, response) => response.end("hi"), "this is no Dialout edge"],
    [
      "a proxy that wants https",
      (_, response) => response.writeHead(400).end("The plain HTTP request was sent to HTTPS port"),
      "speaks https: use https://",
    ],
    [
      "a space that doesn't exist",
      (_, response) =>
        response.writeHead(404).end('{"code":"space_not_found","detail":"No space named x."}'),
      "No space named x.",
    ],
  ])("%s is told what is wrong", async (_, listener, words) => {
    const server = createServer();
    // Without a listener for `upgrade`, Node.js answers the request like any other.
    server.on("request", listener);
    expect(await firstWords(`http://${await listen(server)}`)).toContain(words);
  });
});

test.each([
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "the certificate of edge.example is not accepted"],
  ["CERT_HAS_EXPIRED", "the certificate of edge.example is not accepted"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "the certificate of edge.example is not accepted"],
  ["EPROTO", "edge.example speaks http: use http://edge.example/x"],
  ["ECONNREFUSED", "nothing listens at edge.example"],
  ["ESTRANGE", "strange"],
])("the failure %s is told in words", (code, words) => {
  const error = Object.assign(new Error("strange"), { code });
  const told = describeFailure(error, "https://edge.example/x?token=secret");
  expect(told).toContain(words);
  expect(told).not.toContain("secret");
});
