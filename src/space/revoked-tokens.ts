/** How many are remembered; the oldest is forgotten. */
const MAX_KNOWN = 1_000;

/**
 * The worker tokens that were revoked lately. The Worker checks a token in the catalogue and then opens the socket
 * here: a token that is revoked between the two would otherwise serve the space as long as that socket lives.
 */
export class RevokedTokens {
  private readonly ids = new Set<string>();

  add(tokenId: string): void {
    this.ids.add(tokenId);
    const [oldest] = this.ids;
    if (this.ids.size > MAX_KNOWN && oldest !== undefined) this.ids.delete(oldest);
  }

  has(tokenId: string): boolean {
    return this.ids.has(tokenId);
  }
}
