import ipaddr from "ipaddr.js";

/** Names that only mean something inside somebody's network. */
const INSIDE = /(^|\.)(localhost|local|internal|intranet|lan|home\.arpa)$/;

/**
 * Why a webhook may not go there; `null` where it may. A submitter chooses the address, and the edge must
 * not be made to knock at doors inside.
 *
 * @param allowPrivate on one's own machine anything goes
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

/** URL has written every spelling of an IPv4 address in the usual way by now. */
function isPublic(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (ipaddr.isValid(host)) return ipaddr.process(host).range() === "unicast";
  return host.includes(".") && !INSIDE.test(host);
}
