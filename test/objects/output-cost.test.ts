import { runInDurableObject } from "cloudflare:test";
import { expect, it, vi } from "vitest";
import { end, framesFor, jobOf, send } from "./output-files-support.ts";
import { connectWorker, makeSpace, type NamedSpace, objectOf, submit } from "./support.ts";

/** Counts the rows that the space's object writes from now on, index entries included. */
async function countRows(space: NamedSpace): Promise<{ rows: number }> {
  const written = { rows: 0 };
  await runInDurableObject(objectOf(space), (_object, { storage }) => {
    const sql: SqlStorage = Object.getPrototypeOf(storage.sql);
    const { exec } = sql;
    sql.exec = function counted(this: SqlStorage, ...statement: Parameters<typeof exec>) {
      const cursor = exec.apply(this, statement);
      if (/\b(jobs|output_files|channel_log)\b/.test(statement[0]))
        written.rows += cursor.rowsWritten;
      return cursor;
    } as typeof exec;
  });
  return written;
}

it("a job's output file costs four rows, one less if it is told with the result (decision 0063)", async () => {
  const space = await makeSpace({ offline: "queue" });
  const { socket: worker } = await connectWorker(space, { sends_files: true });
  const written = await countRows(space);
  const rowsOf = async (files: readonly string[], told: boolean) => {
    written.rows = 0;
    const { id } = await submit(space.name);
    const job = await worker.next("job");
    await vi.waitFor(async () => expect((await jobOf(id)).status).toBe("processing"));
    const frames = framesFor(job);
    for (const name of files) {
      await send(job, name, name);
      if (told) worker.send(frames.file(name));
    }
    await vi.waitFor(async () =>
      expect((await jobOf(id)).outputs).toHaveLength(told ? files.length : 0),
    );
    await end(worker, frames.result(null, [...files]));
    return written.rows;
  };
  const without = await rowsOf([], false);
  expect((await rowsOf(["a.txt"], true)) - without).toBe(4);
  expect((await rowsOf(["a.txt"], false)) - without).toBe(3);
});
