/** Runs a bundled Worker in workerd, with its storage on disk and no proxy in front. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { answerCalls } from "./child.ts";
import { memoryOfStarted } from "./memory.ts";

export interface WorkerdOptions {
  script: string;
  /** Object classes by binding. */
  objects: Record<string, string>;
  /** The folder for the storage of objects, D1 and R2. */
  folder: string;
  settings?: Record<string, string>;
  /** The folder of D1 migrations to apply; without it there is no D1. */
  migrations?: string;
  inspectorPort?: number;
}

const calls = {
  /** Resolves with the edge's origin. */
  async start(edge: WorkerdOptions): Promise<string> {
    const options = convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      // Requests to Miniflare's own port pass a Worker of Miniflare's first; to this one they don't.
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      inspectorPort: edge.inspectorPort,
      cf: false,
      name: "bench",
      modules: true,
      scriptPath: edge.script,
      modulesRoot: dirname(edge.script),
      compatibilityDate: "2026-10-23",
      compatibilityFlags: ["nodejs_compat"],
      durableObjects: Object.fromEntries(
        Object.entries(edge.objects).map(([binding, className]) => [
          binding,
          { className, useSQLite: true },
        ]),
      ),
      d1Databases: edge.migrations === undefined ? {} : { DB: "bench" },
      r2Buckets: { FILES: "bench" },
      bindings: edge.settings ?? {},
    });
    options.resourcePersistencePath = edge.folder;
    const miniflare = new Miniflare(options);
    await miniflare.ready;
    if (edge.migrations !== undefined) await migrate(miniflare, edge.migrations);
    return (await miniflare.unsafeGetDirectURL()).origin;
  },
  /** Bytes in memory of workerd. */
  memory: (): number => memoryOfStarted(),
};
export type EdgeCalls = typeof calls;

answerCalls(calls);

async function migrate(miniflare: Miniflare, folder: string): Promise<void> {
  const db = await miniflare.getD1Database("DB");
  for (const file of readdirSync(folder).sort()) {
    const statements = readFileSync(join(folder, file), "utf8").split(";");
    const filled = statements.filter((statement) => statement.trim() !== "");
    await db.batch(filled.map((statement) => db.prepare(statement)));
  }
}
