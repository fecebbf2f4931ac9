import type { IncomingMessage } from "node:http";

const MAX_REFUSAL_BYTES = 16_384;
const MAX_DETAIL = 500;

/** Why the upgrade was refused. */
export interface RefusedUpgrade {
  /** The edge itself refused it, with a problem (RFC 9457), and not a proxy or a captive portal. */
  isProblem: boolean;
  /** In words for the person who runs the worker; `null` if nothing is known. */
  detail: string | null;
}

export async function describeRefusal(
  response: IncomingMessage,
  url: string,
): Promise<RefusedUpgrade> {
  const body = await readBody(response);
  const { code, detail } = problemIn(body);
  const type = response.headers["content-type"] ?? "";
  const isProblem = code !== null && type.startsWith("application/problem+json");
  if (isProblem && detail !== null && code !== "not_found") {
    return { isProblem, detail: detail.slice(0, MAX_DETAIL) };
  }
  return { isProblem, detail: describeAnswer(response, body, url) };
}

function describeAnswer(response: IncomingMessage, body: string, url: string): string | null {
  const { statusCode: status = 0, headers } = response;
  const given = `give the address of the edge alone, such as https://dialout.example, instead of ${withoutQuery(url)}`;
  if (status === 404) return `there is no Dialout edge at this address: ${given}`;
  if (status >= 300 && status < 400 && headers.location !== undefined) {
    return `it redirects to ${originOf(headers.location, url)}: give that as the address of the edge`;
  }
  if (status === 400 && /https port|TLS/i.test(body)) return speaks("https", url);
  if (status < 300)
    return `this is no Dialout edge, or a proxy lets no WebSocket through: ${given}`;
  return null;
}

async function readBody(response: IncomingMessage): Promise<string> {
  let body = "";
  try {
    for await (const piece of response.setEncoding("utf8")) {
      body += piece;
      if (body.length > MAX_REFUSAL_BYTES) return "";
    }
  } catch {
    // What has arrived is all there is.
  }
  return body;
}

function problemIn(body: string): { code: string | null; detail: string | null } {
  try {
    const problem: unknown = JSON.parse(body);
    const { code, detail } = Object(problem);
    return {
      code: typeof code === "string" ? code : null,
      detail: typeof detail === "string" ? detail : null,
    };
  } catch {
    return { code: null, detail: null };
  }
}

function originOf(location: string, url: string): string {
  return URL.canParse(location, url) ? new URL(location, url).origin : "another address";
}

const NETWORK_MESSAGES: Record<string, string> = {
  ECONNREFUSED: "nothing listens at",
  ENOTFOUND: "no such host:",
  EAI_AGAIN: "the name could not be looked up:",
  ETIMEDOUT: "no answer from",
  EHOSTUNREACH: "no route to",
  ENETUNREACH: "no route to",
  ECONNRESET: "connection reset by",
};

/** What OpenSSL says if what answers `https:` does not speak TLS. */
const NOT_TLS = /wrong version number|packet length too long|http request/i;

/** The codes of a certificate that is not trusted, or not of this host. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ISSUER|ERR_TLS_CERT_ALTNAME_INVALID/;

/** Says in words why a connection failed, or could not be made. */
export function describeFailure(error: Error, url: string): string {
  const code = "code" in error ? String(error.code) : "";
  const { host, protocol } = new URL(url);
  const isSecure = protocol === "https:";
  if (isSecure && NOT_TLS.test(error.message)) return speaks("http", url);
  if (code === "EPROTO") return `the TLS handshake with ${host} failed: ${lastPart(error.message)}`;
  if (!isSecure && code.startsWith("HPE_")) return speaks("https", url);
  if (isSecure && CERTIFICATE.test(code)) {
    const trust = "NODE_EXTRA_CA_CERTS=<file> makes this machine trust another authority";
    return `the certificate of ${host} is not accepted: ${error.message} (${code}); ${trust}`;
  }
  if (/subprotocol|sec-websocket/i.test(error.message)) {
    return `${host} answers, but is no Dialout edge (${error.message})`;
  }
  const words = NETWORK_MESSAGES[code];
  if (words === undefined) return error.message || code || "the connection failed";
  const isUnclear = code === "ECONNRESET" && !isSecure && error.message === "socket hang up";
  return `${words} ${host}${isUnclear ? `; if it speaks https, use ${withProtocol("https", url)}` : ""}`;
}

/** A query may contain a token. */
function withoutQuery(url: string): string {
  return url.replace(/[?#].*$/s, "");
}

function speaks(protocol: "http" | "https", url: string): string {
  return `${new URL(url).host} speaks ${protocol}, it seems: use ${withProtocol(protocol, url)}`;
}

/** OpenSSL's messages are lists of places in its code, and end with what is wrong. */
function lastPart(message: string): string {
  return (
    message
      .trim()
      .split(":")
      .findLast((part) => /[a-z] [a-z]/i.test(part)) ?? message
  );
}

function withProtocol(protocol: "http" | "https", url: string): string {
  return withoutQuery(url).replace(/^https?:/i, `${protocol}:`);
}
