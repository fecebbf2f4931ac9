import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { OidcProvider } from "../support/oidc-provider.ts";
import { freePort } from "../support/port.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";

let provider: OidcProvider;
let state: string;
let edge: RunningEdge;

beforeAll(async () => {
  provider = await OidcProvider.start();
  state = await makeState();
  edge = await runEdge(state, await freePort(), ["--no-worker"], {
    OAUTH_ISSUER: provider.issuer,
    OAUTH_CLIENT_ID: provider.clientId,
    OAUTH_NAME: "The Club",
    // Attempts to sign in are counted by address: each visitor comes from one of their own.
    TRUSTED_PROXIES: "127.0.0.1",
  });
});
afterAll(async () => {
  await edge.program.stop();
  provider.stop();
  await removeState(state);
});

let people = 0;
beforeEach(() => {
  people += 1;
  const email = `person-${people}@example.com`;
  provider.person = { sub: `sub-${people}`, email, name: `Person ${people}`, email_verified: true };
  provider.claims = {};
});

/** A browser, as far as cookies go. */
class Visitor {
  private static made = 0;
  private readonly cookies = new Map<string, string>();
  private readonly address = `2001:db8:${(Visitor.made++).toString(16)}::1`;

  async request(url: string, init: RequestInit = {}): Promise<Response> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const own = { origin: edge.url, "x-forwarded-for": this.address, cookie };
    const headers = { ...(init.headers as Record<string, string>), ...own };
    const answer = await fetch(url, { ...init, headers, redirect: "manual" });
    for (const set of answer.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(set) ?? [];
      if (/max-age=0/i.test(set)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return answer;
  }

  post(path: string, body: object): Promise<Response> {
    const headers = { "content-type": "application/json" };
    return this.request(edge.url + path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  /** Goes to the provider; returns the address with which it sends the visitor back. */
  async atProvider(body: object = {}): Promise<string> {
    const started = await this.post("/api/auth/oauth", body);
    expect(started.status).toBe(200);
    const { url } = (await started.json()) as { url: string };
    const sent = await fetch(url, { redirect: "manual" });
    return sent.headers.get("location") ?? "";
  }

  /** Signs in with the provider; returns where the edge sends the visitor. */
  async signIn(body: object = {}): Promise<string> {
    const back = await this.request(await this.atProvider(body));
    return back.headers.get("location") ?? String(back.status);
  }

  async me(): Promise<{ id: string; email: string; role: string } | null> {
    const answer = await this.request(`${edge.url}/api/me`);
    return ((await answer.json()) as { user: { id: string; email: string; role: string } }).user;
  }
}

async function asOperator(method: string, path: string, body?: object): Promise<Response> {
  return fetch(edge.url + path, {
    method,
    headers: { authorization: `Bearer ${operatorKey()}`, "content-type": "application/json" },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
}

async function invite(body: object = {}): Promise<string> {
  const made = await asOperator("POST", "/api/invitations", body);
  return ((await made.json()) as { code: string }).code;
}

test("the edge says which service its people may sign in with", async () => {
  expect(await (await fetch(`${edge.url}/api/auth`)).json()).toMatchObject({ oauth: "The Club" });
});

test("a first sign-in takes an invitation where registration does, which is good for one", async () => {
  const [stranger, guest, second] = [new Visitor(), new Visitor(), new Visitor()];
  expect(await stranger.signIn()).toMatch(/^\/sign-in\?error=registration_closed/);
  expect(await stranger.me()).toBeNull();
  const invitation = await invite();
  expect(await guest.signIn({ invitation, next: "/spaces/demo" })).toBe("/spaces/demo");
  const { email } = provider.person;
  expect(await guest.me()).toMatchObject({ email, role: "member" });
  // Whoever has an account needs none.
  expect(await second.signIn()).toBe("/account");
  expect(await second.me()).toMatchObject({ id: (await guest.me())?.id });
  provider.person = { ...provider.person, sub: "another", email: "another@example.com" };
  expect(await new Visitor().signIn({ invitation })).toMatch(/error=/);
});

test("an account with the same address is not taken over, whatever the provider says", async () => {
  const owner = new Visitor();
  const { email } = provider.person;
  const person = { name: "Owner", email, password: "a long password 1" };
  const made = await owner.post("/api/auth/sign-up", { ...person, invitation: await invite() });
  expect(made.status).toBe(201);
  for (const email_verified of [true, false]) {
    provider.person = { ...provider.person, email_verified };
    const other = new Visitor();
    expect(await other.signIn({ invitation: await invite() })).toMatch(/error=account_not_linked/);
    expect(await other.me()).toBeNull();
  }
});

test("an answer that another browser asked for signs nobody in", async () => {
  const [attacker, victim] = [new Visitor(), new Visitor()];
  const invitation = await invite();
  const back = await attacker.atProvider({ invitation });
  const answer = await victim.request(back);
  expect(answer.headers.get("location")).toMatch(/error=/);
  expect(await victim.me()).toBeNull();
});

test("an ID token with another nonce, of another issuer or for another client signs nobody in", async () => {
  for (const claims of [{ nonce: "x" }, { iss: "https://other.example" }, { aud: "another" }]) {
    provider.claims = claims;
    const visitor = new Visitor();
    expect(await visitor.signIn({ invitation: await invite() })).toMatch(/error=/);
    expect(await visitor.me(), JSON.stringify(claims)).toBeNull();
  }
});

test("a disabled account does not come in by the provider", async () => {
  const visitor = new Visitor();
  await visitor.signIn({ invitation: await invite() });
  const id = (await visitor.me())?.id;
  expect((await asOperator("PATCH", `/api/users/${id}`, { disabled: true })).status).toBe(200);
  const again = new Visitor();
  expect(await again.signIn()).toMatch(/error=account_disabled/);
  expect(await again.me()).toBeNull();
});

test("nobody is sent elsewhere than to a page of the edge", async () => {
  for (const next of ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)"]) {
    expect((await new Visitor().post("/api/auth/oauth", { next })).status).toBe(422);
  }
});

test("the record says who came in by the provider", async () => {
  const visitor = new Visitor();
  await visitor.signIn({ invitation: await invite() });
  await new Visitor().signIn();
  const id = (await visitor.me())?.id;
  const answer = await asOperator("GET", `/api/audit?target=user:${id}`);
  const { entries } = (await answer.json()) as { entries: { action: string; actor: string }[] };
  expect(entries.map(({ action }) => action)).toEqual(["user.sign_in", "user.register"]);
});
