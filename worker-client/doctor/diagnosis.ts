import { spaceName } from "../../src/protocol/values.ts";
import { whyNotRunnable } from "../adapters/runnable.ts";
import type { Edge } from "./answer.ts";
import { checkCredential, type Role } from "./credential.ts";
import { checkEdge, checkPlaces, checkService, checkSpace } from "./edge-checks.ts";
import { type Finding, ok, unknown, warning, wrong } from "./finding.ts";
import { checkName, checkTcp, checkTls, hostOf } from "./network-checks.ts";
import { checkProxySettings } from "./proxy-settings.ts";
import { checkSocket } from "./socket-check.ts";

/** What is to be looked at. */
export interface Patient {
  role: Role;
  /** The address of the edge, or why what was given can't be one, and what to write instead. */
  address: { ok: true; url: URL } | { ok: false; why: string; advice: string };
  /** `null`: none was given. */
  space: string | null;
  credential: string | null;
  /** The program that `exec` is to run; `null`: none. */
  program: string | null;
  env: Record<string, string | undefined>;
  /** How long one step may take, milliseconds. */
  stepMs?: number;
}

const STEP_MS = 8_000;

/**
 * Looks at everything that a worker or a client needs, step by step, and stops where the next steps could only fail for
 * the same reason. It takes no place of a worker and submits nothing.
 */
export async function* diagnose(patient: Patient): AsyncGenerator<Finding, void, undefined> {
  const { role, address, space, credential, program, env, stepMs = STEP_MS } = patient;
  if (!address.ok) yield wrong("address", address.why, address.advice);
  else yield describeAddress(address.url);
  if (program !== null) yield checkProgram(program, env.PATH ?? "");
  const token = checkCredential(role, credential, Date.now());
  yield token;
  yield* checkSpaceName(space, role);
  if (!address.ok) return;
  const { url } = address;
  yield checkProxySettings(url, env);
  for (const step of [
    () => checkName(url),
    () => checkTcp(url, stepMs),
    ...tlsStepOf(url, stepMs),
  ]) {
    const finding = await step();
    yield finding;
    if (finding.level === "wrong") return;
  }
  const edge: Edge = { url, credential: token.level === "wrong" ? null : credential, stepMs };
  const { findings, isEdge } = await checkEdge(edge);
  yield* findings;
  if (isEdge && space !== null && spaceName.safeParse(space).success)
    yield* checkUse(edge, space, role);
}

async function* checkUse(
  edge: Edge,
  name: string,
  role: Role,
): AsyncGenerator<Finding, void, undefined> {
  const { findings, space } = await checkSpace(edge, name, role);
  yield* findings;
  if (findings.some(({ level }) => level === "wrong")) return;
  if (role === "worker" && edge.credential === null) {
    yield unknown(
      "websocket",
      "without a token that could be right no worker's connection is opened",
    );
    return;
  }
  const { findings: made, places } = await checkSocket(edge, name, role);
  yield* made;
  if (role === "client" && space !== null) yield checkService(space);
  if (places !== null) yield checkPlaces(places, space);
}

function describeAddress(url: URL): Finding {
  const isLocal = /^(localhost|.*\.localhost|127\..*|::1)$/.test(hostOf(url));
  if (url.protocol === "https:" || isLocal) return ok("address", url.href.replace(/\/$/, ""));
  const advice = `if the edge speaks https, use ${url.origin.replace("http:", "https:")}`;
  return warning(
    "address",
    `${url.origin} is not encrypted: whoever is in between reads the token`,
    advice,
  );
}

function checkProgram(program: string, path: string): Finding {
  const why = whyNotRunnable(program, path);
  if (why === null) return ok("program", `${program} can be run`);
  return wrong("program", `${program} can't be run: ${why}`, "install it, or give its path");
}

function* checkSpaceName(space: string | null, role: Role): Generator<Finding, void, undefined> {
  if (space === null) {
    if (role === "worker")
      yield wrong("space", "no space was named", "name it: --space or DIALOUT_SPACE");
    else yield unknown("space", "no space was named: `dialout doctor <space>` looks at one, too");
    return;
  }
  const read = spaceName.safeParse(space);
  if (read.success) return;
  const why = read.error.issues[0]?.message ?? "can't be one";
  yield wrong(
    "space",
    `"${space.slice(0, 100)}" is no name of a space: it ${why}`,
    "check its name",
  );
}

function tlsStepOf(url: URL, stepMs: number): (() => Promise<Finding>)[] {
  return url.protocol === "https:" ? [() => checkTls(url, Date.now(), stepMs)] : [];
}
