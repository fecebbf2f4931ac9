import { z } from "zod";
import { type SpaceResource, spaceResource } from "../../src/protocol/resources.ts";
import { describeFailure } from "../dial-failure.ts";
import { type Answer, type Edge, get, jsonIn, refusalIn } from "./answer.ts";
import type { Role } from "./credential.ts";
import { type Finding, ok, unknown, warning, wrong } from "./finding.ts";

/** A clock that differs by more than this is mentioned, seconds. `Date` headers are whole seconds. */
const CLOCK_S = 30;
const HEALTH = z.object({ status: z.literal("ok") });

export interface EdgeChecks {
  findings: Finding[];
  /** Whether an edge answers, so that the rest can be checked. */
  isEdge: boolean;
}

/** Asks whether an edge answers at the address, and compares its clock with that of this machine. */
export async function checkEdge(edge: Edge): Promise<EdgeChecks> {
  let answer: Answer;
  const startedAt = Date.now();
  try {
    // Without the credential: nobody knows yet who answers.
    answer = await get({ ...edge, credential: null }, "/healthz");
  } catch (error) {
    const why = describeFailure(
      error instanceof Error ? error : new Error(String(error)),
      edge.url.href,
    );
    const advice = "see what listens there: it takes the connection and gives no answer of an edge";
    return { findings: [wrong("edge", why, advice)], isEdge: false };
  }
  const isHealthy = answer.status === 200 && HEALTH.safeParse(jsonIn(answer.body)).success;
  if (!isHealthy) return { findings: [describeStranger(answer, edge.url)], isEdge: false };
  const found = ok("edge", `an edge answers at ${edge.url.origin} (${answer.ms} ms)`);
  return { findings: [found, compareClocks(answer, startedAt)], isEdge: true };
}

function describeStranger(answer: Answer, url: URL): Finding {
  const { status, headers, body } = answer;
  const { location } = headers;
  if (status >= 300 && status < 400 && location !== undefined) {
    const target = URL.canParse(location, url.href) ? new URL(location, url).origin : "elsewhere";
    if (target === url.origin.replace("http:", "https:") && target !== url.origin) {
      return wrong("edge", `${url.host} sends everybody on to https`, `use ${target}`);
    }
    const advice = `if the edge is there, use ${target}; if it is the log-in page of a network, log in first`;
    return wrong("edge", `${url.host} sends everybody on to ${target}`, advice);
  }
  if (status === 400 && /https port|TLS/i.test(body)) {
    return wrong(
      "edge",
      `${url.host} speaks https`,
      `use ${url.origin.replace("http:", "https:")}`,
    );
  }
  if (status === 407) {
    return wrong(
      "edge",
      "a proxy asks for a password",
      "let this machine reach the edge without it",
    );
  }
  if (status >= 500 || status === 429) {
    const advice = "see whether the edge runs: a proxy in front of it answers so while it doesn't";
    return wrong("edge", `${url.host} answers with status ${status}`, advice);
  }
  const what = /^\s*</.test(body) ? "a page of HTML" : `status ${status}`;
  const advice = "check host and port; if it is the log-in page of a network, log in first";
  return wrong("edge", `${url.host} answers, but is no Dialout edge (${what})`, advice);
}

function compareClocks({ headers, ms }: Answer, startedAt: number): Finding {
  const theirs = Date.parse(headers.date ?? "");
  if (Number.isNaN(theirs))
    return unknown("clock", "the edge sent no date to compare this machine's clock with");
  // A date is cut to the second, so it is half a second late on average.
  const differenceS = Math.round((startedAt + ms / 2 - (theirs + 500)) / 1_000);
  const amount = Math.abs(differenceS);
  if (amount <= CLOCK_S) return ok("clock", "this machine's clock agrees with the edge's");
  const way = differenceS > 0 ? "ahead of" : "behind";
  return warning(
    "clock",
    `this machine's clock is ${spoken(amount)} ${way} the edge's`,
    "set it (timedatectl set-ntp true): certificates and tokens are valid for a time",
  );
}

function spoken(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} minutes`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} hours`;
  return `${Math.round(seconds / 86_400)} days`;
}

export interface SpaceChecks {
  findings: Finding[];
  /** What may be seen of it; `null` if nothing. */
  space: SpaceResource | null;
}

/** Asks for the space, and with a client's credential also whether it opens the space. */
export async function checkSpace(edge: Edge, name: string, role: Role): Promise<SpaceChecks> {
  const path = `/api/spaces/${encodeURIComponent(name)}`;
  // A worker token opens a worker's socket and nothing else.
  const asking = role === "worker" ? { ...edge, credential: null } : edge;
  const answer = await get(asking, path).catch(() => null);
  if (answer === null) {
    return { findings: [unknown("space", "no answer came to the question for it")], space: null };
  }
  const read = spaceResource.safeParse(jsonIn(answer.body));
  if (answer.status === 200 && read.success) {
    const { visibility } = read.data;
    const found = ok("space", `the space ${name} exists, and is ${visibility}`);
    const access = role === "client" ? [await checkAccess(edge, path)] : [];
    return { findings: [found, ...access], space: read.data };
  }
  return { findings: [describeHidden(answer, name, role, edge.credential !== null)], space: null };
}

function describeHidden(answer: Answer, name: string, role: Role, isKnown: boolean): Finding {
  const refusal = refusalIn(answer);
  if (refusal === null) {
    const advice = "see what is in between: something lets /healthz through and not the rest";
    return wrong(
      "space",
      `the question for it got the status ${answer.status}, not from an edge`,
      advice,
    );
  }
  if (refusal.code === "space_not_found") {
    const advice = "check its name; an admin sees all spaces on the edge's home page";
    const hidden = isKnown && role === "client" ? ", or it is not yours to see" : "";
    return wrong("space", `there is no space named ${name}${hidden}`, advice);
  }
  if (refusal.code === "not_authenticated" && role === "worker") {
    return ok("space", `the space ${name} exists, and is private`);
  }
  const advice = isKnown ? "get a key that holds" : "set DIALOUT_KEY to a key that opens it";
  return wrong(isKnown ? "access" : "space", refusal.detail, advice);
}

/** Listing jobs is what only known users may, and changes nothing. */
async function checkAccess(edge: Edge, path: string): Promise<Finding> {
  if (edge.credential === null)
    return unknown("access", "you are anybody: what is public is open to you");
  const answer = await get(edge, `${path}/jobs?limit=1`).catch(() => null);
  if (answer?.status === 200) return ok("access", "the edge knows you, and shows you your jobs");
  const refusal = answer === null ? null : refusalIn(answer);
  if (refusal === null) return unknown("access", "no answer of the edge came");
  if (refusal.code === "not_allowed") {
    const advice = "make a key with what you need, on the page /account";
    return warning("access", refusal.detail, advice);
  }
  return wrong("access", refusal.detail, "make a new key on the page /account, or get a new token");
}

/** Whether jobs would have a worker. */
export function checkService(space: SpaceResource): Finding {
  const { worker, worker_name: named, waiting_reason: reason } = space.status;
  if (worker === "connected") {
    return ok(
      "worker",
      `${named === undefined ? "a worker" : `the worker ${named}`} serves the space`,
    );
  }
  const then = space.offline === "refuse" ? "submits are refused" : "jobs wait";
  const state =
    reason ?? (worker === "disconnected" ? "no worker is connected" : `the worker is ${worker}`);
  const advice = "start one: dialout-worker, see docs/workers.md";
  return warning("worker", `${state}: ${then} until one serves the space`, advice);
}

/** How many workers serve a space, and how many may. */
export interface Places {
  workers: number;
  max_workers: number;
}

/** Whether a worker would have a place. */
export function checkPlaces(
  { workers, max_workers: most }: Places,
  space: SpaceResource | null,
): Finding {
  const places = most === 1 ? "one place" : `${most} places`;
  if (workers === 0) return ok("worker", `no worker serves the space, which has ${places}`);
  if (workers < most) return ok("worker", `${workers} of ${places} are taken`);
  const named = space?.status.worker_name;
  const who =
    workers > 1
      ? `${workers} workers serve`
      : `${named === undefined ? "a worker" : `the worker ${named}`} serves`;
  return warning(
    "worker",
    `${who} the space now, and it has ${places}: another worker waits until there is one`,
    "if it is yours, all is well; for more at once, raise max_workers in the space's settings",
  );
}
