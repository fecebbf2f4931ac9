/** A database that is empty, and takes whatever is written. */
class EmptyStatement {
  bind(): this {
    return this;
  }
  async first(): Promise<null> {
    return null;
  }
  async all(): Promise<{ results: never[] }> {
    return { results: [] };
  }
  async run(): Promise<{ meta: { changes: number } }> {
    return { meta: { changes: 1 } };
  }
}

/** Bindings that an object needs and a test of something else doesn't look at. */
export const QUIET_BINDINGS = {
  DB: {
    prepare: () => new EmptyStatement(),
    batch: async (statements: unknown[]) => statements.map(() => ({ meta: { changes: 1 } })),
  },
  /** Whatever credential a socket comes with is still good. */
  HOLDER: { getByName: () => ({ register: async () => "valid" }) },
};
