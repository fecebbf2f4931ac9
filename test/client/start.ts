import { onTestFinished } from "vitest";
import { type ClientOptions, DialoutClient } from "../../src/client/index.ts";
import { FakeSubscriberEdge } from "../support/fake-subscriber-edge.ts";

export const JOB_ID = "demo.01JZZZZZZZZZZZZZZZZZZZZZZZ";

/** An edge and a client of it; both end with the test. */
export async function startClient(options: ClientOptions = {}) {
  const edge = await FakeSubscriberEdge.start();
  return { edge, client: clientOf(edge, options) };
}

export function clientOf(edge: { url: string }, options: ClientOptions = {}): DialoutClient {
  const client = new DialoutClient({ url: edge.url, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** A token that runs out so many seconds from now; nobody here checks its signature. */
export function tokenFor(seconds: number, name = "ada"): string {
  const exp = Math.floor(Date.now() / 1_000) + seconds;
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part({ sub: name, exp })}.signature`;
}
