import { env, exports } from "cloudflare:workers";
import { call, expectStatus, OPERATOR } from "./support.ts";

export const PASSWORD = "a long password 1";

let people = 0;

/** Another address for each person: attempts to sign in are limited by address. */
export function newPerson() {
  people += 1;
  const id = `${people}-${crypto.randomUUID().slice(0, 8)}`;
  return {
    name: `Person ${people}`,
    email: `person-${id}@example.com`,
    password: PASSWORD,
    address: `2001:db8:0:${people.toString(16)}::1`,
  };
}
export type Person = ReturnType<typeof newPerson>;

/** As on the edge's own machine, so that each person can have an address of their own. */
const EDGE = "https://localhost";
export const OWN_PAGE = { origin: EDGE };

/** Calls as the person's browser would from a page of the edge. */
export async function callAs(
  { cookie, address }: { cookie?: string; address: string },
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = OWN_PAGE,
): Promise<Response> {
  const type = body === undefined ? {} : { "content-type": "application/json" };
  const own = { "cf-connecting-ip": address, ...(cookie === undefined ? {} : { cookie }) };
  return exports.default.fetch(`${EDGE}${path}`, {
    method,
    headers: { ...type, ...own, ...headers } as Record<string, string>,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
}

/** The cookies that an answer sets, as a browser would send them back. */
export function cookiesOf(response: Response): string {
  return response.headers
    .getSetCookie()
    .map((cookie) => cookie.split(";")[0])
    .join("; ");
}

export interface SignedIn {
  id: string;
  email: string;
  cookie: string;
  address: string;
}

async function signedIn(person: Person, response: Response): Promise<SignedIn> {
  await expectStatus(201, response);
  const { user } = await response.clone().json<{ user: { id: string } }>();
  const { email, address } = person;
  return { id: user.id, email, address, cookie: cookiesOf(response) };
}

/** Makes a member, by an invitation of the operator. */
export async function makeMember(role: "admin" | "member" = "member"): Promise<SignedIn> {
  const operator = { authorization: `Bearer ${env.OPERATOR_KEY}` };
  const made = await call("POST", "/api/invitations", { role }, operator);
  const { code: invitation } = await (await expectStatus(201, made)).json<{ code: string }>();
  const person = newPerson();
  const { address, ...body } = person;
  return signedIn(
    person,
    await callAs({ address }, "POST", "/api/auth/sign-up", { ...body, invitation }),
  );
}

export interface Key {
  id: string;
  key: string;
}

export async function makeKey(owner: SignedIn | null, body: object): Promise<Key> {
  const wanted = { name: "for a test", ...body };
  const made =
    owner === null
      ? await call("POST", "/api/keys", wanted, OPERATOR)
      : await callAs(owner, "POST", "/api/keys", wanted);
  return (await expectStatus(201, made)).json<Key>();
}

export const withKey = ({ key }: Key) => ({ authorization: `Bearer ${key}` });
