import { hasLocalRights, isOwnServer, trustedProxiesOf } from "../env.ts";
import type { AppContext } from "./context.ts";
import { type ForwardedRequest, readForwarded } from "./forwarded.ts";

/** Who dialed, and how, as far as the edge believes it. */
export interface ClientRequest extends ForwardedRequest {
  isFromThisMachine: boolean;
}

/**
 * The origin under which clients reach the edge: `PUBLIC_URL`, or else what trusted proxies report, or else the
 * origin of the request.
 */
export function publicOriginOf(c: AppContext): string {
  const { PUBLIC_URL } = c.env;
  if (PUBLIC_URL !== undefined) return new URL(PUBLIC_URL).origin;
  const { protocol, host } = clientRequestOf(c);
  const url = new URL(c.req.url);
  return `${protocol ?? protocolOf(c, url.protocol)}://${host ?? url.host}`;
}

/** Whether clients reach the edge over TLS. */
export function isSecure(c: AppContext): boolean {
  const { PUBLIC_URL } = c.env;
  if (PUBLIC_URL !== undefined) return new URL(PUBLIC_URL).protocol === "https:";
  const [scheme = ""] = c.req.url.split("//", 1);
  return (clientRequestOf(c).protocol ?? protocolOf(c, scheme)) === "https";
}

/** The client's address. Submits over HTTP and over sockets are counted together for each address. */
export function clientAddressOf(c: AppContext): string {
  return clientRequestOf(c).address;
}

/**
 * Whether the request comes from this machine and through no proxy, so that its sender has local rights. Anybody
 * on the web looks like 127.0.0.1 behind a proxy on this machine; the headers and the host name give the proxy
 * away. A page of another origin acts for a stranger, too.
 */
export function isFromThisMachine(c: AppContext): boolean {
  return clientRequestOf(c).isFromThisMachine;
}

/** Found out once for each request. */
function clientRequestOf(c: AppContext): ClientRequest {
  const known = c.get("clientRequest");
  if (known !== undefined) return known;
  const isLocal = comesFromThisMachine(c);
  const found = { ...forwardedOf(c, isLocal), isFromThisMachine: isLocal };
  c.set("clientRequest", found);
  return found;
}

function comesFromThisMachine(c: AppContext): boolean {
  if (!hasLocalRights(c.env)) return false;
  if (PROXY_HEADERS.some((name) => c.req.header(name) !== undefined)) return false;
  const host = c.req.header("host");
  const origin = c.req.header("origin");
  return (
    (host === undefined || isLoopback(`http://${host}`)) &&
    (origin === undefined || isLoopback(origin))
  );
}

const PROXY_HEADERS = [
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "forwarded",
  "via",
];

function isLoopback(origin: string): boolean {
  if (!URL.canParse(origin)) return false;
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(new URL(origin).hostname);
}

/** What trusted proxies report; if none are trusted, only the address that dialed the edge. */
function forwardedOf(c: AppContext, isLocal: boolean): ForwardedRequest {
  const peer = peerOf(c, isLocal);
  const trusted = trustedProxiesOf(c.env);
  return trusted === null
    ? { address: peer, protocol: null, host: null }
    : readForwarded(c.req.raw.headers, peer, trusted);
}

/**
 * The address that dialed the edge. Cloudflare sets the header. An edge on one's own server is dialed from the
 * same machine, and there a stranger could send the header through the proxy.
 */
function peerOf(c: AppContext, isLocal: boolean): string {
  if (isOwnServer(c.env) && !isLocal) return LOOPBACK;
  return c.req.header("cf-connecting-ip") ?? "unknown";
}

/** An edge on one's own server speaks HTTP only; its runtime would believe anybody's `X-Forwarded-Proto`. */
function protocolOf(c: AppContext, scheme: string): string {
  const isClaimed = isOwnServer(c.env) && c.req.header("x-forwarded-proto") !== undefined;
  return isClaimed ? "http" : scheme.slice(0, -1);
}

const LOOPBACK = "127.0.0.1";
