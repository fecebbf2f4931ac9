import { resolve4, resolve6 } from "node:dns/promises";
import ipaddr from "ipaddr.js";
import { isPublicAddress } from "./target.ts";

/** Looks up the addresses of a name; throws if it has none or nobody can be asked. */
export type LookUp = (host: string) => Promise<string[]>;

/** A lookup that takes longer tells nothing, milliseconds. */
const LOOK_UP_MS = 2_000;

/**
 * Whether a name resolves to a private address, so that nothing must be sent there. A name of which nobody can
 * tell what it resolves to is judged by itself (`target.ts`).
 */
export async function leadsInside(url: string, lookUp: LookUp = lookUpBoth): Promise<boolean> {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
  if (ipaddr.isValid(host)) return false;
  const tooLate = new Promise<string[]>((resolve) => setTimeout(resolve, LOOK_UP_MS, []));
  const addresses = await Promise.race([lookUp(host).catch(() => []), tooLate]);
  return addresses.some((address) => !isPublicAddress(address));
}

async function lookUpBoth(host: string): Promise<string[]> {
  const found = await Promise.allSettled([resolve4(host), resolve6(host)]);
  return found.flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []));
}
