/** How many names are remembered; each takes some hundred bytes. */
const MAX_NAMES = 10_000;

/**
 * Names of things that are known to exist, so that this need not be looked up for each request. Beyond MAX_NAMES the
 * one that was used longest ago is forgotten. Names of things that don't exist are not remembered: strangers could
 * push out the others with them.
 */
export class KnownNames {
  /** In the order of their use, the latest last. */
  private readonly names = new Set<string>();

  has(name: string): boolean {
    if (!this.names.delete(name)) return false;
    this.names.add(name);
    return true;
  }

  add(name: string): void {
    this.names.delete(name);
    this.names.add(name);
    if (this.names.size <= MAX_NAMES) return;
    const [oldest] = this.names;
    if (oldest !== undefined) this.names.delete(oldest);
  }

  forget(name: string): void {
    this.names.delete(name);
  }
}
