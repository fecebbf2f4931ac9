import ipaddr from "ipaddr.js";

/** Host names that exist only inside a private network. */
const INSIDE = /(^|\.)(localhost|local|internal|intranet|lan|home\.arpa)$/;

/**
 * The reason why a webhook must not be sent to this address; `null` if it may be. Submitters choose the address,
 * and they must not be able to make the edge send requests into the operator's private network.
 *
 * @param allowPrivate for an edge on one's own machine: any `http:` or `https:` address is allowed
 */
export function refusalOf(address: string, allowPrivate: boolean): string | null {
  if (!URL.canParse(address)) return "is not a URL";
  const { protocol, hostname, username, password } = new URL(address);
  if (username !== "" || password !== "") return "must not contain a user or a password";
  if (allowPrivate) {
    return protocol === "https:" || protocol === "http:" ? null : "must be an http: or https: URL";
  }
  if (protocol !== "https:") return "must be an https: URL";
  return isPublic(hostname) ? null : "must be a public address";
}

/** Whether a host is public. `URL` has normalized every spelling of an IPv4 address: `127.1` is `127.0.0.1`. */
function isPublic(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (ipaddr.isValid(host)) return ipaddr.process(host).range() === "unicast";
  return host.includes(".") && !INSIDE.test(host);
}
