import { hasLocalRights, isOwnServer, trustedProxiesOf } from "../env.ts";
import type { AppContext } from "./context.ts";
import { type ForwardedRequest, readForwarded } from "./forwarded.ts";

/**
 * The origin under which clients reach the edge: `PUBLIC_URL`, or else what trusted proxies report, or else the
 * origin of the request.
 */
export function publicOriginOf(c: AppContext): string {
  const { PUBLIC_URL } = c.env;
  if (PUBLIC_URL !== undefined) return new URL(PUBLIC_URL).origin;
  const { protocol, host } = forwardedOf(c);
  const url = new URL(c.req.url);
  return `${protocol ?? protocolOf(c, url)}://${host ?? url.host}`;
}

/** The client's address. Submits over HTTP and over sockets are counted together for each address. */
export function clientAddressOf(c: AppContext): string {
  return forwardedOf(c).address;
}

/**
 * Whether the request comes from this machine and through no proxy, so that its sender has local rights. Anybody
 * on the web looks like 127.0.0.1 behind a proxy on this machine; the headers and the host name give the proxy
 * away. A page of another origin acts for a stranger, too.
 */
export function isFromThisMachine(c: AppContext): boolean {
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
function forwardedOf(c: AppContext): ForwardedRequest {
  const peer = peerOf(c);
  const trusted = trustedProxiesOf(c.env);
  return trusted === null
    ? { address: peer, protocol: null, host: null }
    : readForwarded(c.req.raw.headers, peer, trusted);
}

/**
 * The address that dialed the edge. Cloudflare sets the header. An edge on one's own server is dialed from the
 * same machine, and there a stranger could send the header through the proxy.
 */
function peerOf(c: AppContext): string {
  if (isOwnServer(c.env) && !isFromThisMachine(c)) return LOOPBACK;
  return c.req.header("cf-connecting-ip") ?? "unknown";
}

/** An edge on one's own server speaks HTTP only; its runtime would believe anybody's `X-Forwarded-Proto`. */
function protocolOf(c: AppContext, url: URL): string {
  const isClaimed = isOwnServer(c.env) && c.req.header("x-forwarded-proto") !== undefined;
  return isClaimed ? "http" : url.protocol.slice(0, -1);
}

const LOOPBACK = "127.0.0.1";
