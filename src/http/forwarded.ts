import parseForwardedHeader from "forwarded-parse";
import { parseAddress, type TrustedProxies } from "../auth/trusted-proxies.ts";

/** The client's request as the trusted proxies report it; `null` for what they don't. */
export interface ForwardedRequest {
  /** The address of whoever dialed the outermost trusted proxy. */
  address: string;
  protocol: "http" | "https" | null;
  /** Host name, with a port if it is not the usual one. */
  host: string | null;
}

/**
 * Reads `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded` (RFC 7239) if there is none of them.
 *
 * Each proxy appends the address that dialed it, so everything to the left of a proxy that is not trusted may be
 * made up. Example: a client sends `X-Forwarded-For: 1.1.1.1` from 9.9.9.9, and our proxy passes on
 * `1.1.1.1, 9.9.9.9`. From the right, 9.9.9.9 is the first address that is not a proxy of ours.
 *
 * @param peer the address that dialed this edge
 */
export function readForwarded(
  headers: Headers,
  peer: string,
  trusted: TrustedProxies,
): ForwardedRequest {
  if (!trusted.includes(peer)) return { address: peer, protocol: null, host: null };
  const { addresses, protocols, hosts } = readLists(headers);
  let address = peer;
  /** How many trusted proxies the request came through. */
  let proxies = 1;
  for (const reported of addresses.toReversed()) {
    const next = withoutPort(reported);
    if (parseAddress(next) === null) break;
    address = next;
    if (!trusted.includes(address)) break;
    proxies += 1;
  }
  return {
    address,
    protocol: protocolOf(reportedBy(protocols, proxies)),
    host: hostOf(reportedBy(hosts, proxies)),
  };
}

/** What each proxy reported, the one nearest to the client first. */
interface ForwardedLists {
  addresses: string[];
  protocols: string[];
  hosts: string[];
}

function readLists(headers: Headers): ForwardedLists {
  const addresses = listOf(headers, "x-forwarded-for");
  const protocols = listOf(headers, "x-forwarded-proto");
  const hosts = listOf(headers, "x-forwarded-host");
  const elements = parseElements(headers.get("forwarded"));
  // A proxy that sets the one kind may pass on a stranger's header of the other kind.
  if (addresses.length + protocols.length + hosts.length > 0 || elements.length === 0) {
    return { addresses, protocols, hosts };
  }
  return {
    addresses: elements.map((element) => element.for ?? ""),
    protocols: elements.map((element) => element.proto ?? ""),
    hosts: elements.map((element) => element.host ?? ""),
  };
}

function listOf(headers: Headers, name: string): string[] {
  const text = headers.get(name);
  return text === null ? [] : text.split(",").map((word) => word.trim());
}

function parseElements(text: string | null): Partial<Record<"for" | "proto" | "host", string>>[] {
  if (text === null) return [];
  try {
    return parseForwardedHeader(text);
  } catch {
    return [];
  }
}

/** The value of the outermost trusted proxy, if every proxy appended one; the oldest, if there are fewer. */
function reportedBy(values: string[], proxies: number): string | undefined {
  return values[Math.max(0, values.length - proxies)];
}

/** `192.0.2.1:4711` and `[2001:db8::1]:4711` without port and brackets. */
function withoutPort(text: string): string {
  const match = /^\[([^\]]*)\](?::\d+)?$/.exec(text) ?? /^([\d.]+):\d+$/.exec(text);
  return match?.[1] ?? text;
}

function protocolOf(text: string | undefined): "http" | "https" | null {
  const protocol = text?.toLowerCase();
  return protocol === "http" || protocol === "https" ? protocol : null;
}

/** Nothing else may get into an address that the edge makes. */
function hostOf(text: string | undefined): string | null {
  return /^([\w.-]{1,253}|\[[\da-f:.]{2,45}\])(:\d{1,5})?$/i.test(text ?? "") ? (text ?? "") : null;
}
