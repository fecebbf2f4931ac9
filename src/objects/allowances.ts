import type { Caller } from "../auth/caller.ts";
import type { SessionPrincipal } from "../auth/session.ts";
import { type Bucket, type FrameRate, spend, tokensAt } from "./rate-limiter.ts";

/** So many keys are remembered: a few megabytes. */
const MAX_KEYS = 10_000;

/**
 * How much each address, user or key may do: `burst` at once, and `perSecond` in the long run. In memory only: an object that was
 * idle long enough to lose its memory has forgiven it anyway.
 */
export class Allowances {
  private readonly rate: FrameRate;
  private readonly buckets = new Map<string, Bucket>();

  constructor(rate: FrameRate) {
    this.rate = rate;
  }

  /**
   * Takes `count` at once, or nothing. A negative `count` gives some back.
   *
   * @returns 0 if they were taken, otherwise after how many whole seconds they can be, if nothing else is taken
   * meanwhile
   */
  take(key: string, count: number, now: number): number {
    const before = this.buckets.get(key) ?? null;
    const after = spend(before, this.rate, now, count);
    if (after === null) return this.waitS(before, count, now);
    // Set anew, so that the map is in the order of use.
    this.buckets.delete(key);
    this.buckets.set(key, after);
    if (this.buckets.size > MAX_KEYS) this.dropOldest();
    return 0;
  }

  private waitS(before: Bucket | null, count: number, now: number): number {
    const { burst, perSecond } = this.rate;
    const missing = Math.min(count, burst) - tokensAt(before, this.rate, now);
    // Rounding must not make it a hair too short.
    return Math.max(1, Math.ceil(missing / perSecond + 1e-6));
  }

  private dropOldest(): void {
    const [oldest] = this.buckets.keys();
    if (oldest !== undefined) this.buckets.delete(oldest);
  }
}

/** As whom a client is counted: its key by itself, a user wherever they are, anybody else by their network. */
export function countedAs({
  keyId,
  userId,
  address,
}: Pick<Caller, "keyId" | "userId" | "address">): string {
  if (keyId !== null) return `key ${keyId}`;
  return userId === null ? addressOwner(address) : `user ${userId}`;
}

/** The same for whoever opened a socket or publishes; `null`: the operator, who has no limit. */
export function countedPrincipal(principal: SessionPrincipal): string | null {
  switch (principal.kind) {
    case "operator":
      return null;
    case "key":
      return `key ${principal.keyId}`;
    case "user":
    case "account":
      return `user ${principal.userId}`;
  }
}

/** As whom clients are counted that only their network address is known of. */
export function addressOwner(address: string): string {
  return `address ${networkOf(address)}`;
}

/** How a refusal speaks of what was counted. */
export function byWhom(counted: string): string {
  if (counted.startsWith("key ")) return "with this key";
  return counted.startsWith("user ") ? "by you" : "from your address";
}

/** What one client has for itself: an address of IPv4, or of IPv6 the first half, within which it can choose any. */
export function networkOf(address: string): string {
  if (!address.includes(":") || address.includes(".")) return address;
  const [head = "", tail] = address.toLowerCase().split("::");
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...new Array<string>(zeros).fill("0"), ...right];
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":");
}

function groupsOf(text: string): string[] {
  return text === "" ? [] : text.split(":");
}

export function retryText(seconds: number): string {
  return `try again in ${seconds} s`;
}
