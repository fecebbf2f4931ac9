import { createHmac } from "node:crypto";
import type { Caller } from "../../auth/caller.ts";
import { networkOf } from "../../objects/allowances.ts";

/** What of a job's submitter tells whose turn it is. `userId`: whose the job is. */
type Submitter = Pick<Caller, "userId" | "isAdmin" | "address">;

/** So many addresses are remembered, with their hashes. */
const MAX_KNOWN = 1_000;

/**
 * Tells whose a job is: users take turns (decision 0049). Visitors are told apart by their addresses, as elsewhere. A
 * row has a hash instead of the address, which only this edge can compute; it is removed when the job has ended.
 */
export class Parties {
  private readonly secret: string;
  private readonly known = new Map<string, string>();

  /** @param secret of the edge: whoever reads the rows without it can't find out the address */
  constructor(secret: string) {
    this.secret = secret;
  }

  /** `null`: whoever has the operator's key and names no user, such as a backend. */
  of({ userId, isAdmin, address }: Submitter): string | null {
    if (userId !== null) return `user ${userId}`;
    return isAdmin ? null : this.ofAddress(networkOf(address));
  }

  private ofAddress(network: string): string {
    const known = this.known.get(network);
    if (known !== undefined) return known;
    const hash = createHmac("sha256", this.secret).update(`party ${network}`).digest("base64url");
    const party = `address ${hash.slice(0, 22)}`;
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    this.known.set(network, party);
    return party;
  }
}
