import { lookup } from "node:dns/promises";
import { connect, isIP } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { describeFailure } from "../dial-failure.ts";
import { judgeCertificate } from "./certificate.ts";
import { type Finding, ok, wrong } from "./finding.ts";

/** Looks the host's name up. */
export async function checkName(url: URL): Promise<Finding> {
  const host = hostOf(url);
  if (isIP(host) !== 0) return ok("name", `${host} is an address, so no name is looked up`);
  try {
    const found = await lookup(host, { all: true });
    const addresses = found.map(({ address }) => address);
    return ok("name", `${host} is ${addresses.slice(0, 4).join(", ")}`);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOTFOUND") {
      return wrong("name", `there is no host named ${host}`, "check how the address is written");
    }
    const advice = "check this machine's connection and its name server (/etc/resolv.conf)";
    return wrong("name", `the name ${host} could not be looked up (${code})`, advice);
  }
}

/** Opens a connection and closes it. */
export function checkTcp(url: URL, limitMs: number): Promise<Finding> {
  const started = performance.now();
  const place = placeOf(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostOf(url), port: portOf(url) });
    const end = (finding: Finding) => {
      socket.destroy();
      resolve(finding);
    };
    socket.setTimeout(limitMs, () => {
      const advice = "see whether a firewall drops it, and whether the port is the right one";
      end(wrong("tcp", `no answer from ${place} within ${limitMs / 1_000} s`, advice));
    });
    socket.on("connect", () => {
      end(ok("tcp", `${place} takes connections (${sinceMs(started)} ms)`));
    });
    socket.on("error", (error) =>
      end(wrong("tcp", describeFailure(error, url.href), adviceFor(error))),
    );
  });
}

function adviceFor(error: Error): string {
  switch (codeOf(error)) {
    case "ECONNREFUSED":
      return "see whether the edge runs, and whether the port is the right one";
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return "see whether this machine is online, and in the network that the address belongs to";
    default:
      return "see whether this machine is online, and whether a firewall is in between";
  }
}

/** Makes a TLS connection and judges the certificate that the server shows. */
export function checkTls(url: URL, now: number, limitMs: number): Promise<Finding> {
  const host = hostOf(url);
  return new Promise((resolve) => {
    const socket: TLSSocket = connectTls({
      host,
      port: portOf(url),
      servername: isIP(host) === 0 ? host : "",
      // So that the certificate can be looked at; nothing is sent over this connection.
      rejectUnauthorized: false,
    });
    const end = (finding: Finding) => {
      socket.destroy();
      resolve(finding);
    };
    socket.setTimeout(limitMs, () => {
      const message = `${placeOf(url)} takes the connection, but no TLS handshake follows`;
      end(wrong("tls", message, "see whether that port speaks https, and what is in between"));
    });
    socket.on("secureConnect", () => {
      const certificate = socket.getPeerCertificate();
      const code = socket.authorized ? null : String(socket.authorizationError);
      end(judgeCertificate({ host, certificate, code: knownCode(code) }, now));
    });
    socket.on("error", (error) => {
      const advice = "see what listens at that port";
      end(wrong("tls", describeFailure(error, url.href), advice));
    });
  });
}

/** Some versions of Node.js give the error's text, which begins with its code or has it in brackets. */
function knownCode(text: string | null): string | null {
  if (text === null) return null;
  return /[A-Z][A-Z0-9_]{5,}/.exec(text)?.[0] ?? text;
}

/** `URL` keeps the brackets of an IPv6 address, and sockets don't take them. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}

export function portOf(url: URL): number {
  return Number(url.port || (url.protocol === "https:" ? 443 : 80));
}

function placeOf(url: URL): string {
  return `${url.hostname}:${portOf(url)}`;
}

function codeOf(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
}

export function sinceMs(started: number): number {
  return Math.max(1, Math.round(performance.now() - started));
}
