import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { setupCode } from "../../src/auth/setup-code.ts";
import type { Env } from "../../src/env.ts";
import { signedFileUrl } from "../../src/files/signed-url.ts";
import { app } from "../../src/http/app.ts";
import { tokenOf } from "../support/tokens.ts";
import { cookiesOf, makeMember, OWN_PAGE, type SignedIn } from "./accounts-support.ts";

/** The steps of docs/secrets.md: before the change, with the former one beside the new one, and without it. */
const STEPS = ["before", "beside", "after"] as const;
type Step = (typeof STEPS)[number];

/** The settings of the edge in each step of the change of one secret. */
function settingsIn(name: "OPERATOR_KEY" | "SIGNING_KEY" | "JWT_SECRET", made: string) {
  const former = env[name];
  return {
    before: env,
    beside: { ...env, [name]: made, [`${name}_FORMER`]: former },
    after: { ...env, [name]: made },
  } satisfies Record<Step, Env>;
}

/** A request to an edge with these settings. */
async function request(settings: Env, path: string, init: RequestInit = {}): Promise<Response> {
  const ctx = createExecutionContext();
  const answer = await app.request(`https://localhost${path}`, init, settings, ctx);
  await waitOnExecutionContext(ctx);
  return answer;
}

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const NEW = "a-new-secret-of-the-tests-for-a-change";

describe("while the former one is set, what it was used for goes on", () => {
  test("the operator's key", async () => {
    const settings = settingsIn("OPERATOR_KEY", NEW);
    const statusOf = async (step: Step, key: string) =>
      (await request(settings[step], "/api/users", bearer(key))).status;
    const former = await Promise.all(STEPS.map((step) => statusOf(step, env.OPERATOR_KEY)));
    expect(former).toEqual([200, 200, 401]);
    expect(await Promise.all(STEPS.map((step) => statusOf(step, NEW)))).toEqual([401, 200, 200]);
  });

  test("the link to the set-up page, which is made of the operator's key", async () => {
    await makeMember("admin");
    const settings = settingsIn("OPERATOR_KEY", NEW);
    const codeOf = async (step: Step, of: string) => {
      const person = { name: "Ann", email: "a@example.com", password: "a long password" };
      const body = JSON.stringify({ ...person, key: setupCode(of) });
      const headers = { "content-type": "application/json" };
      const answer = await request(settings[step], "/api/auth/setup", {
        method: "POST",
        headers,
        body,
      });
      return (await answer.json<{ code: string }>()).code;
    };
    // There is an admin already: whoever has the right code is told so.
    const [known, unknown] = ["already_set_up", "not_allowed"];
    const former = await Promise.all(STEPS.map((step) => codeOf(step, env.OPERATOR_KEY)));
    expect(former).toEqual([known, known, unknown]);
    expect(await Promise.all(STEPS.map((step) => codeOf(step, NEW)))).toEqual([
      unknown,
      known,
      known,
    ]);
  });

  test("tokens of users", async () => {
    const settings = settingsIn("JWT_SECRET", NEW);
    const statusOf = async (step: Step, secret: string) => {
      const token = await tokenOf(secret, "ann");
      return (await request(settings[step], "/api/rooms/user:ann/history", bearer(token))).status;
    };
    const former = await Promise.all(STEPS.map((step) => statusOf(step, env.JWT_SECRET)));
    expect(former).toEqual([200, 200, 401]);
    expect(await Promise.all(STEPS.map((step) => statusOf(step, NEW)))).toEqual([401, 200, 200]);
    expect(await statusOf("beside", "a-secret-that-was-never-one-of-this-edge")).toBe(401);
  });

  test("addresses of files", async () => {
    await env.FILES.put("spaces/demo/inputs/1/0", "content");
    const settings = settingsIn("SIGNING_KEY", NEW);
    const statusOf = async (step: Step, secret: string) => {
      const url = signedFileUrl(secret, "", "spaces/demo/inputs/1/0", Date.now() + 60_000);
      const answer = await request(settings[step], url);
      await answer.arrayBuffer();
      return answer.status;
    };
    const former = await Promise.all(STEPS.map((step) => statusOf(step, env.SIGNING_KEY)));
    expect(former).toEqual([200, 200, 403]);
    expect(await Promise.all(STEPS.map((step) => statusOf(step, NEW)))).toEqual([403, 200, 200]);
  });

  test("sessions; their pages get a cookie that outlives the former key", async () => {
    const settings = settingsIn("SIGNING_KEY", NEW);
    const member = await makeMember();
    const me = async (step: Step, { cookie }: Pick<SignedIn, "cookie">) => {
      const answer = await request(settings[step], "/api/me", { headers: { ...OWN_PAGE, cookie } });
      const { user } = await answer.clone().json<{ user: { id: string } | null }>();
      return { id: user?.id, answer };
    };
    expect((await me("before", member)).id).toBe(member.id);
    const beside = await me("beside", member);
    expect(beside.id).toBe(member.id);
    expect((await me("after", member)).id).toBeUndefined();
    const [set = ""] = beside.answer.headers.getSetCookie();
    expect(set).toMatch(/; HttpOnly/i);
    expect(set).toMatch(/; SameSite=Lax/i);
    expect(set).toMatch(/; Max-Age=60\d{4}/);
    const renewed = { cookie: cookiesOf(beside.answer) };
    expect((await me("after", renewed)).id).toBe(member.id);
    // A cookie that has the new signature already is left alone.
    expect((await me("beside", renewed)).answer.headers.getSetCookie()).toEqual([]);
  });
});

test("a cookie with a wrong signature is nobody's while a former key is set", async () => {
  const member = await makeMember();
  const settings = settingsIn("SIGNING_KEY", NEW).beside;
  const session = member.cookie.split("; ").find((cookie) => /session_token=/.test(cookie)) ?? "";
  const forged = session.replace(/\.[^.]*$/, `.${"A".repeat(43)}%3D`);
  const broken = session.replace(/=.*/, "=%E0%A4%A");
  for (const cookie of [forged, broken, "dialout.session_token="]) {
    const answer = await request(settings, "/api/me", { headers: { ...OWN_PAGE, cookie } });
    expect(await answer.json()).toEqual({ user: null });
  }
});
