import { connectAddress, type LinkTarget } from "../link.ts";
import type { TransportEnd } from "../platform.ts";

const PROBE_MS = 5_000;
const MAX_BODY = 16_384;
const MAX_DETAIL = 500;
const UPGRADE_REQUIRED = 426;

/**
 * Finds out over HTTP why a WebSocket could not be opened: the edge answers the same address as it answered the socket,
 * or with 426 if only the upgrade is missing (W4b).
 */
export async function whyRefused(target: LinkTarget): Promise<TransportEnd> {
  const address = connectAddress(target).replace(/^ws/, "http");
  const { host } = new URL(address);
  let answer: Response;
  try {
    answer = await fetch(address, {
      headers: { authorization: `Bearer ${target.token}` },
      // Following a redirect could hand the token to another host.
      redirect: "error",
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PROBE_MS),
    });
  } catch {
    const message = `${host} can't be reached, or its setting CORS_ORIGINS does not name this page's origin`;
    return { type: "unreachable", message };
  }
  const { status } = answer;
  const type = answer.headers.get("content-type") ?? "";
  const detail = type.startsWith("application/problem+json") ? await detailOf(answer) : null;
  const isProblem = detail !== null;
  if (!isProblem || status !== UPGRADE_REQUIRED) {
    return { type: "refused", status, isProblem, detail };
  }
  const message = `${host} answers, but no WebSocket to it could be opened: something in between may not let it through`;
  return { type: "unreachable", message };
}

/** @returns `null` if this is no problem of an edge */
async function detailOf(answer: Response): Promise<string | null> {
  try {
    const { code, detail } = Object(JSON.parse((await answer.text()).slice(0, MAX_BODY)));
    if (typeof code !== "string") return null;
    return typeof detail === "string" ? detail.slice(0, MAX_DETAIL) : code;
  } catch {
    return null;
  }
}
