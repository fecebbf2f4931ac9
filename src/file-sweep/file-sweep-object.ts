import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env.ts";
import { FileSweep, SWEEP_EVERY_MS } from "./file-sweep.ts";

/** Time until the next step after one has failed, milliseconds. */
const AGAIN_MS = 600_000;
const CURSOR = "cursor";

/**
 * Removes files without a job once a day, by its alarm (decision 0045). An alarm goes off everywhere, unlike a cron
 * trigger, which no edge on one's own machine has.
 */
export class FileSweepObject extends DurableObject<Env> {
  private readonly sweep: FileSweep;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const { kv } = ctx.storage;
    this.sweep = new FileSweep({
      bucket: env.FILES,
      cursor: {
        read: () => kv.get<string>(CURSOR) ?? null,
        write: (key) => void (key === null ? kv.delete(CURSOR) : kv.put(CURSOR, key)),
      },
      unknownFolders: (space, folders) => env.SPACE.getByName(space).unknownFolders(folders),
      unknownOutputs: (space, places) => env.SPACE.getByName(space).unknownOutputs(places),
    });
  }

  /** Makes sure that the sweeps go on. Call this before a file is stored. */
  async begin(): Promise<void> {
    const { storage } = this.ctx;
    if ((await storage.getAlarm()) === null) await storage.setAlarm(Date.now() + SWEEP_EVERY_MS);
  }

  override async alarm(): Promise<void> {
    const now = Date.now();
    let dueAt = now + AGAIN_MS;
    try {
      dueAt = await this.sweep.step(now);
    } catch (error) {
      console.error("a sweep of files failed", error);
    }
    await this.ctx.storage.setAlarm(dueAt);
  }
}
