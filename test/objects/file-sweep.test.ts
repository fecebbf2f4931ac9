import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { FILE_SWEEP_NAME, FileSweep, SWEEP_EVERY_MS } from "../../src/file-sweep/file-sweep.ts";
import { newUploadFolder } from "../../src/files/file-keys.ts";
import { cursorInMemory } from "../support/sweep-cursor.ts";
import {
  call,
  expectStatus,
  makeSpace,
  type NamedSpace,
  OPERATOR,
  objectOf,
  replaceMethod,
  runSql,
} from "./support.ts";

const HOUR_MS = 3_600_000;

function sweeper() {
  return env.FILE_SWEEP.getByName(FILE_SWEEP_NAME);
}

/** Submits a job with two files. */
function submitFiles(space: NamedSpace, headers: Record<string, string> = {}): Promise<Response> {
  const form = new FormData();
  for (const name of ["a", "b"]) form.append("image", new File([name], name));
  const url = `https://edge.test/api/spaces/${space.name}/jobs`;
  return exports.default.fetch(url, { method: "POST", body: form, headers });
}

function makeFileSpace() {
  return makeSpace({ enable_file_upload: true, offline: "queue" });
}

async function storedKeys({ name }: NamedSpace): Promise<string[]> {
  const { objects } = await env.FILES.list({ prefix: `spaces/${name}/` });
  return objects.map(({ key }) => key);
}

/** Stores files that no job has, as a submit does that is killed before it makes the job. */
async function plantOrphan({ name }: NamedSpace): Promise<void> {
  const folder = newUploadFolder(name);
  for (const index of [0, 1]) await env.FILES.put(`${folder}/${index}`, "orphan");
}

/** A whole sweep, as it goes after this time. */
async function sweep(afterMs = 2 * HOUR_MS): Promise<void> {
  const steps = new FileSweep({
    bucket: env.FILES,
    cursor: cursorInMemory(),
    unknownFolders: (space, folders) => env.SPACE.getByName(space).unknownFolders(folders),
    unknownOutputs: (space, places) => env.SPACE.getByName(space).unknownOutputs(places),
  });
  const now = Date.now() + afterMs;
  while ((await steps.step(now)) < now + SWEEP_EVERY_MS);
}

describe("files in the bucket", () => {
  it("that no job has are removed, once they are old enough (H6l)", async () => {
    const [space, deleted] = [await makeFileSpace(), { name: `gone-${crypto.randomUUID()}` }];
    await expectStatus(202, await submitFiles(space));
    const living = await storedKeys(space);
    await plantOrphan(space);
    await plantOrphan(deleted);
    await sweep(0);
    expect(await storedKeys(space)).toHaveLength(4);
    await sweep();
    expect(await storedKeys(space)).toEqual(living);
    expect(await storedKeys(deleted)).toEqual([]);
  });

  it("of jobs stay, whether they wait or have ended, until the job is erased (H6l)", async () => {
    const space = await makeFileSpace();
    const { id } = await (await submitFiles(space)).json<{ id: string }>();
    await expectStatus(202, await submitFiles(space));
    await call("POST", `/api/jobs/${id}/cancel`);
    await sweep(1_000 * HOUR_MS);
    expect(await storedKeys(space)).toHaveLength(4);
    await runSql(space, "DELETE FROM jobs WHERE status = 'canceled'");
    await sweep();
    expect(await storedKeys(space)).toHaveLength(2);
  });

  it("of a submit that was cut off before its job was stored are removed (H6l)", async () => {
    const space = await makeFileSpace();
    await runInDurableObject(objectOf(space), (object) => {
      replaceMethod(object, "submit", () => {
        throw new Error("cut off");
      });
    });
    await expectStatus(500, await submitFiles(space));
    expect(await storedKeys(space)).toHaveLength(2);
    await sweep();
    expect(await storedKeys(space)).toEqual([]);
  });

  it("left by a deleted space don't pass to a new space of its name (H6l)", async () => {
    const space = await makeFileSpace();
    await call("DELETE", `/api/spaces/${space.name}`, undefined, OPERATOR);
    await plantOrphan(space);
    await call(
      "POST",
      "/api/spaces",
      { name: space.name, offline: "queue", enable_file_upload: true },
      OPERATOR,
    );
    await expectStatus(202, await submitFiles(space));
    await sweep();
    expect(await storedKeys(space)).toHaveLength(2);
  });
});

describe("the sweeps of files", () => {
  it("begin with the first file that is stored, and go on once a day (H6l)", async () => {
    await expectStatus(202, await submitFiles(await makeFileSpace()));
    const alarm = () => runInDurableObject(sweeper(), (_object, { storage }) => storage.getAlarm());
    const first = Number(await alarm()) - Date.now();
    expect(first).toBeGreaterThan(SWEEP_EVERY_MS - 60_000);
    expect(first).toBeLessThanOrEqual(SWEEP_EVERY_MS);
    expect(await runDurableObjectAlarm(sweeper())).toBe(true);
    const next = Number(await alarm()) - Date.now();
    expect(next).toBeGreaterThan(SWEEP_EVERY_MS - 60_000);
    await sweeper().begin();
    expect(Number(await alarm()) - Date.now()).toBeLessThanOrEqual(SWEEP_EVERY_MS);
  });

  it("go on after a failure, too", async () => {
    await expectStatus(202, await submitFiles(await makeFileSpace()));
    await runInDurableObject(sweeper(), (object) => {
      replaceMethod(Reflect.get(object, "sweep"), "step", () => {
        throw new Error("the bucket is away");
      });
    });
    await runDurableObjectAlarm(sweeper());
    const dueAt = await runInDurableObject(sweeper(), (_object, { storage }) => storage.getAlarm());
    expect(Number(dueAt) - Date.now()).toBeGreaterThan(60_000);
    expect(Number(dueAt) - Date.now()).toBeLessThanOrEqual(600_000);
  });
});
