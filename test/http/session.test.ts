import { Hono } from "hono";
import { expect, it } from "vitest";
import type { AppEnv } from "../../src/http/context.ts";
import { accountHeaders } from "../../src/http/session.ts";

const app = new Hono<AppEnv>().get("/", (c) =>
  c.json(Object.fromEntries(accountHeaders(c) as Iterable<[string, string]>)),
);

async function headersFor(headers: Record<string, string>): Promise<Record<string, string>> {
  return (await app.request("/", { headers }, {})).json();
}

it("Better Auth gets the edge's own cookies, and no others: the runtime logs them if they are not ASCII", async () => {
  const session = "__Secure-dialout.session_token=abc.d%2Fe";
  const cookie = `theme=caf\u00e9; ${session}; dialout.forged=\u00e9; other=1`;
  expect((await headersFor({ cookie })).cookie).toBe(session);
  expect(await headersFor({ cookie: "theme=caf\u00e9", "user-agent": "test" })).toEqual({
    "user-agent": "test",
    "x-client-address": "unknown",
  });
});
