import { spaceName } from "../src/protocol/values.ts";

/** Where a worker dials: the edge, and the space if the given address names one. */
export interface EdgeAddress {
  url: string;
  space: string | null;
}

/**
 * Reads the address of an edge. People also paste the address of a space's page or of the API, such as
 * `https://edge/spaces/x` or `https://edge/api/spaces/x/jobs`: it says which edge and which space.
 */
export function readEdgeAddress(given: string): EdgeAddress {
  if (whyNotAnAddress(given) !== null) return { url: given, space: null };
  const address = new URL(given);
  const match = /^(.*?)(?:\/api)?\/spaces(?:\/([^/]*))?(?:\/.*)?$/.exec(address.pathname);
  if (match === null) return { url: given, space: null };
  const [, path = "", name = ""] = match;
  const url = `${address.origin}${path}`;
  return { url, space: spaceName.safeParse(name).success ? name : null };
}

/** Says why this is no address of an edge; `null` if it may be one. */
export function whyNotAnAddress(text: string): string | null {
  // A query may contain a token, and the message is shown.
  const given = text.trim().replace(/[?#].*$/s, "");
  const known = "The edge's address must be an http: or https: URL";
  const protocol = URL.canParse(given) ? new URL(given).protocol : null;
  if (protocol === "http:" || protocol === "https:") {
    const { username, password } = new URL(given);
    if (username === "" && password === "") return null;
    return "The edge's address must not contain a user and password: a worker has a token.";
  }
  if (protocol === "ws:" || protocol === "wss:") {
    return `${known}: write ${given.replace(/^ws/i, "http")} instead of ${given}.`;
  }
  // `localhost:8787` is read as the protocol `localhost:`.
  const isHost = /^(?!\/)[\w.-]+(:\d+)?(\/.*)?$/.test(given);
  const hint = isHost ? `: write http://${given} or https://${given}.` : `, not "${given}".`;
  return `${known}${hint}`;
}
