import { DialoutError } from "./errors.ts";

const EXAMPLE = "http://127.0.0.1:8787 or https://edge.example.com";

/**
 * Reads the client's `url`. Without a scheme it is a host: `http:` on this machine, `https:` elsewhere. A text
 * that begins with `/` is a path on the page's own origin. Query and hash are dropped.
 *
 * @param page the address of the page, if the client runs in one
 * @throws {DialoutError} `invalid_url` with a sentence that says what to write
 */
export function edgeAddress(url: string | URL | undefined, page: URL | null): URL {
  const text = textOf(url, page);
  const base = parse(text, page);
  if (!/^https?:$/.test(base.protocol)) throw invalid(otherScheme(base));
  if (base.username !== "" || base.password !== "") {
    throw invalid("it contains a user or a password: give the key as `token` instead");
  }
  const misplaced = base.pathname.match(RESOURCE);
  if (misplaced !== null) {
    const edge = base.origin + base.pathname.slice(0, misplaced.index);
    throw invalid(`it names a page or a route: write the address of the edge, ${edge}`);
  }
  base.search = "";
  base.hash = "";
  return base;
}

/** The end of a path that leads to something in an edge, as copied from a browser or from docs. */
const RESOURCE = /\/(?:spaces\/[^/]*|api\/(?:spaces|jobs|rooms)(?:\/.*)?)\/?$/;

/** Appends `path` to the base address, which may have a path itself. */
export function addressUnder(base: URL, path: string): URL {
  const address = new URL(base);
  address.pathname = base.pathname.replace(/\/+$/, "") + path;
  address.search = "";
  address.hash = "";
  return address;
}

/**
 * Whether a browser keeps this page from reaching the edge: a page loaded over `https:` may make no `http:`
 * requests, except to its own machine.
 */
export function isMixedContent(edge: URL, page: URL | null): boolean {
  return page?.protocol === "https:" && edge.protocol === "http:" && !isLocal(edge.hostname);
}

function textOf(url: string | URL | undefined, page: URL | null): string {
  if ((url === undefined || url === "") && page !== null) return page.origin;
  if (url === undefined) {
    throw invalid("it is needed outside of a page", "The edge's `url` is needed here");
  }
  if (url instanceof URL) return url.href;
  if (typeof url !== "string")
    throw invalid(
      `it is ${url === null ? "null" : `${typeof url === "object" ? "an" : "a"} ${typeof url}`}`,
    );
  const text = url.trim();
  if (text === "") throw invalid("it is empty");
  if (/\s/.test(text)) throw invalid("there is a space in it");
  return text;
}

function parse(text: string, page: URL | null): URL {
  if (/^\/(?!\/)/.test(text)) {
    if (page === null) throw invalid("a path alone is enough only in a page");
    return new URL(text, page.origin);
  }
  const [scheme] = text.match(/^[a-z][a-z0-9+.-]*:\/\//i) ?? [];
  if (scheme !== undefined) return parsed(text);
  if (/^(https?|wss?):/i.test(text)) throw invalid("there is no // after the scheme");
  const host = parsed(`https://${text.replace(/^\/\//, "")}`);
  if (isLocal(host.hostname)) return parsed(`http://${text.replace(/^\/\//, "")}`);
  return host;
}

function parsed(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw invalid("it is not an address");
  }
}

function isLocal(hostname: string): boolean {
  return /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}

function otherScheme(base: URL): string {
  const begins = `it begins with http: or https:, not ${base.protocol}`;
  const scheme = { "ws:": "http", "wss:": "https" }[base.protocol];
  return scheme === undefined ? begins : `${begins} Write ${scheme}://${base.host}`;
}

/** The text itself is not repeated: it may contain a password. */
function invalid(why: string, what = "The edge's `url` can't be used"): DialoutError {
  return new DialoutError("invalid_url", `${what}: ${why}. An example: ${EXAMPLE}.`);
}
