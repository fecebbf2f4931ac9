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
    .poll(() => logged.find((line) => line.includes("trying again")), { timeout: 20_000 })
    .toBeDefined()
    .then(() => logged.find((line) => line.includes("trying again")) ?? "");
  return Promise.race([refusal, line]);
}

describe("a worker that dials", () => {
  test("https: where http is spoken is told so", async () => {
    const host = await listen(createServer());
    expect(await firstWords(`https://${host}`)).toContain(
      `${host} speaks http, it seems: use http://${host}`,
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
      "speaks https, it seems: use https://",
    ],
    [
      "a space that doesn't exist",
      (_, response) =>
        response
          .writeHead(404, { "content-type": "application/problem+json" })
          .end('{"code":"space_not_found","detail":"No space named x."}'),
      "No space named x.",
    ],
  ])("%s is told what is wrong", async (_, listener, words) => {
    const server = createServer();
    // Without a listener for `upgrade`, Node.js answers the request like any other.
    server.on("request", listener);
    expect(await firstWords(`http://${await listen(server)}`)).toContain(words);
  });
});

const OPENSSL = "write EPROTO 00A7:error:0A00010B:SSL routines:ssl3_get_record";

test.each([
  [`${OPENSSL}:wrong version number:`, "speaks http, it seems: use http://edge.example/x"],
  [
    `${OPENSSL}:tlsv1 alert internal error:`,
    "the TLS handshake with edge.example failed: tlsv1 alert",
  ],
])("the failure of TLS %s is told in words", (message, words) => {
  const error = Object.assign(new Error(message), { code: "EPROTO" });
  expect(describeFailure(error, "https://edge.example/x?token=secret")).toContain(words);
});

test("an answer that is no upgrade to the protocol is told in words", () => {
  expect(describeFailure(new Error("Server sent no subprotocol"), "http://edge.example")).toContain(
    "edge.example answers, but is no Dialout edge",
  );
});

test.each([
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "the certificate of edge.example is not accepted"],
  ["CERT_HAS_EXPIRED", "the certificate of edge.example is not accepted"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "the certificate of edge.example is not accepted"],
  ["ECONNREFUSED", "nothing listens at edge.example"],
  ["ESTRANGE", "strange"],
])("the failure %s is told in words", (code, words) => {
  const error = Object.assign(new Error("strange"), { code });
  const told = describeFailure(error, "https://edge.example/x?token=secret");
  expect(told).toContain(words);
  expect(told).not.toContain("secret");
});
