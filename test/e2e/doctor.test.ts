import { beforeAll, describe, expect, it } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { edge, examineWorker, makeEchoSpace, run, startWaitingJob } from "./terminal-program.ts";

let space: Awaited<ReturnType<typeof makeEchoSpace>>;

beforeAll(async () => {
  space = await makeEchoSpace();
  return space.stop;
});

describe("doctor", () => {
  it("finds a real edge in order, and disturbs no worker", async () => {
    const before = await edge.submit(space.name, { prompt: "before" });
    const { worker } = await edge.ended(before.id);
    const { prints, ended, goOn } = await startWaitingJob(space.name);
    await prints("begin");
    const { code, printed: shown } = await examineWorker(space.name, space.token);
    expect(code).toBe(0);
    expect(shown).toContain("and the token is one of the space");
    expect(shown).toContain("1 of 2 places are taken");
    expect(shown).not.toContain(space.token);
    await goOn();
    expect((await ended).code).toBe(0);
    const after = await edge.submit(space.name, { prompt: "after" });
    expect((await edge.ended(after.id)).worker).toEqual(worker);
  });

  it("says whether a key opens the space", async () => {
    const right = await run(["doctor", space.name], { env: { DIALOUT_KEY: operatorKey() } });
    expect(right).toMatchObject({ code: 0, out: expect.stringContaining("the edge knows you") });
    const wrong = await run(["doctor", space.name], { env: { DIALOUT_KEY: "dok_wrong" } });
    expect(wrong).toMatchObject({ code: 1, out: expect.stringContaining("This key is wrong") });
  });

  it("says that a token is another space's", async () => {
    const other = await edge.makeSpace({ visibility: "private" });
    const { code, printed: shown } = await examineWorker(other.name, space.token);
    expect(code).toBe(1);
    expect(shown).toMatch(/WRONG {3}access .*not one of the space/);
    expect(shown).toContain(`the space ${other.name} exists, and is private`);
  });
});
