import ipaddr from "ipaddr.js";

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = [Address, number];

/** The addresses of the proxies whose headers are believed. */
export class TrustedProxies {
  private readonly ranges: Range[];

  private constructor(ranges: Range[]) {
    this.ranges = ranges;
  }

  /** Reads addresses and ranges separated by commas, such as `127.0.0.1, 10.0.0.0/8`; `null` if one is neither. */
  static parse(text: string): TrustedProxies | null {
    const ranges: Range[] = [];
    for (const word of text.split(",")) {
      const range = parseRange(word.trim());
      if (range === null) return null;
      ranges.push(range);
    }
    return new TrustedProxies(ranges);
  }

  includes(address: string): boolean {
    const parsed = parseAddress(address);
    return parsed !== null && this.ranges.some((range) => isWithin(parsed, range));
  }
}

/** Only the usual spelling: the parser would take `1` or `0x7f.1` for IPv4 addresses, too. */
export function parseAddress(text: string): Address | null {
  const isUsual = ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text);
  return isUsual ? ipaddr.process(text) : null;
}

function parseRange(text: string): Range | null {
  const single = parseAddress(text);
  if (single !== null) return [single, single.kind() === "ipv4" ? 32 : 128];
  const slash = text.lastIndexOf("/");
  if (slash < 0 || parseAddress(text.slice(0, slash)) === null) return null;
  const isRange = ipaddr.IPv4.isValidCIDR(text) || ipaddr.IPv6.isValidCIDR(text);
  return isRange ? ipaddr.parseCIDR(text) : null;
}

/** `ipaddr.js` throws if the two are of different kinds. */
function isWithin(address: Address, [network, bits]: Range): boolean {
  return address.kind() === network.kind() && address.match([network, bits]);
}
