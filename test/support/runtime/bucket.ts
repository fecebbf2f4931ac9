/** A bucket of files that can refuse to delete. */
export class FakeBucket {
  readonly keys = new Set<string>();
  /** How many of the next calls of `delete` fail. */
  failures = 0;
  /** How many keys each call of `delete` named. */
  readonly deletions: number[] = [];

  async delete(keys: string | string[]): Promise<void> {
    const named = [keys].flat();
    this.deletions.push(named.length);
    if (named.length > 1_000) throw new Error("too many keys");
    if (this.failures > 0) {
      this.failures -= 1;
      throw new Error("the bucket can't be reached");
    }
    for (const key of named) this.keys.delete(key);
  }

  /** A page has 1,000 objects, as in R2. */
  async list({ prefix }: { prefix: string }): Promise<{ objects: { key: string }[] }> {
    const found = [...this.keys].filter((key) => key.startsWith(prefix)).slice(0, 1_000);
    return { objects: found.map((key) => ({ key })) };
  }
}
