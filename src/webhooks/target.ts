import ipaddr from "ipaddr.js";

/**
 * Host names that lead into a private network: those that exist only inside one, and public ones that resolve to
 * whatever address stands in their name (`127.0.0.1.nip.io`). They are for when nobody can be asked what a
 * name resolves to.
 */
const INSIDE = new RegExp(
  `(^|\\.)(${[
    "localhost|local|localdomain|internal|intranet|private|corp|home|lan|home\\.arpa",
    "svc|cluster|consul|docker|test|invalid|onion|alt",
    "nip\\.io|sslip\\.io|xip\\.io|localtest\\.me|lvh\\.me|vcap\\.me|lacolhost\\.com|traefik\\.me",
  ].join("|")})$`,
);

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

/**
 * Whether a host is public, as far as its name tells. `URL` has normalized every spelling of an IPv4 address:
 * `127.1` is `127.0.0.1`.
 */
function isPublic(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "").replace(/\.+$/, "");
  if (ipaddr.isValid(host)) return isPublicAddress(host);
  return host.includes(".") && !INSIDE.test(host);
}

/** Whether an IP address is public: of all its kinds only `unicast` is. */
export function isPublicAddress(text: string): boolean {
  const address = ipaddr.process(text);
  if (address.range() !== "unicast") return false;
  // `::127.0.0.1` is an old way to write an IPv4 address, which the library takes for a public one.
  return address.kind() === "ipv4" || !address.match(ipaddr.parse("::"), 96);
}
