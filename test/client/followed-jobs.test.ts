import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parsePosition } from "../../src/channel/position.ts";
import { FollowedJobs } from "../../src/client/followed-jobs.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { idOf, ModelFollower, SpaceModel } from "./followed-jobs-model.ts";

const JOBS = 3;
const job = fc.nat(JOBS - 1);
const count = fc.nat(6);

type Step =
  | { do: "follow" | "erase"; job: number }
  | { do: "unfollow"; index: number }
  | { do: "publish"; job: number; kind: "output" | "progress" | "end" }
  | { do: "trim"; job: number; share: number }
  | { do: "up" | "down" }
  | { do: "serve" | "deliver"; count: number };

function stepOf<T extends Step>(weight: number, fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) {
  return { weight, arbitrary: fc.record(fields) as fc.Arbitrary<Step> };
}

const kinds = fc.constantFrom<"output" | "progress" | "end">(
  ...(["output", "output", "output", "progress", "progress", "end"] as const),
);
const step = fc.oneof(
  stepOf<{ do: "follow"; job: number }>(3, { do: fc.constant("follow"), job }),
  stepOf<{ do: "unfollow"; index: number }>(1, { do: fc.constant("unfollow"), index: fc.nat(9) }),
  stepOf<{ do: "publish"; job: number; kind: "output" | "progress" | "end" }>(7, {
    do: fc.constant("publish"),
    job,
    kind: kinds,
  }),
  stepOf<{ do: "trim"; job: number; share: number }>(1, {
    do: fc.constant("trim"),
    job,
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  stepOf<{ do: "erase"; job: number }>(1, { do: fc.constant("erase"), job }),
  stepOf<{ do: "up" | "down" }>(3, { do: fc.constantFrom("up", "up", "down") }),
  stepOf<{ do: "serve" | "deliver"; count: number }>(8, {
    do: fc.constantFrom("serve", "deliver"),
    count,
  }),
);

function run(steps: Step[], limit: number): SpaceModel {
  const model = new SpaceModel(JOBS, limit);
  for (const taken of steps) {
    switch (taken.do) {
      case "follow":
      case "erase":
        model[taken.do](taken.job);
        break;
      case "unfollow":
        model.unfollow(taken.index);
        break;
      case "publish":
        model.publish(taken.job, taken.kind);
        break;
      case "trim":
        model.trim(taken.job, taken.share);
        break;
      case "serve":
      case "deliver":
        model[taken.do](taken.count);
        break;
      default:
        model[taken.do]();
    }
  }
  model.finish();
  return model;
}

/** Checks that events come once and in order, and that what is missing is reported as lost. */
function expectWhole(model: SpaceModel, follower: ModelFollower): void {
  const log = model.logs[follower.job];
  if (log === undefined) throw new Error("no such job");
  let at = 0;
  const lost: { after: number; until: number }[] = [];
  for (const event of follower.told) {
    if (event.type === "restart") continue;
    if (event.type === "gap") {
      const after = parsePosition(event.after)?.offset ?? 0;
      const until = parsePosition(event.until)?.offset ?? 0;
      expect(after).toBe(at);
      expect(until).toBeLessThanOrEqual(log.trimmedTo);
      lost.push({ after, until });
      at = until;
      continue;
    }
    expect(event.offset).toBeGreaterThan(at - (event.type === "progress" ? 1 : 0));
    at = event.offset;
  }
  expect(follower.told.at(-1)).toMatchObject({ type: "progress", status: "completed" });
  const outputs = log.frames.flatMap((frame, index) =>
    frame.type === "output" ? [index + 1] : [],
  );
  const told = follower.told.flatMap((event) => (event.type === "output" ? [event.offset] : []));
  expect(new Set(told).size).toBe(told.length);
  for (const offset of outputs) {
    const isLost = lost.some(({ after, until }) => offset > after && offset <= until);
    expect(told.includes(offset) || isLost).toBe(true);
  }
}

describe("the jobs on one socket of a space, under random drops, reconnects, trims and followers", () => {
  test("each follower gets every event of its job once and in order, or learns what is lost (C9, C10, C11)", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
        const model = run(steps, JOBS);
        for (const follower of model.followers) {
          if (follower.isGone) continue;
          if (follower.refusal === null) expectWhole(model, follower);
          else expect(model.logs[follower.job]?.isErased).toBe(true);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("whoever is refused is told, and everybody else is served (S12)", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60, size: "max" }),
        fc.integer({ min: 1, max: 2 }),
        (steps, limit) => {
          const model = run(steps, limit);
          for (const follower of model.followers) {
            if (follower.isGone) continue;
            if (follower.refusal === null) expectWhole(model, follower);
            else expect(follower.refusal.code).toMatch(/^(too_many_follows|job_not_found)$/);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("the jobs on one socket of a space", () => {
  test("followers of a job that begin together ask once; one that is further on asks for itself (C8)", () => {
    const model = new SpaceModel(1, 100);
    model.up();
    model.publish(0, "output");
    model.follow(0);
    model.follow(0);
    expect(model.follows).toBe(1);
    model.serve(9);
    model.deliver(9);
    model.follow(0);
    expect(model.follows).toBe(2);
    model.finish();
    for (const follower of model.followers) expectWhole(model, follower);
  });

  test("after a reconnect all of them ask at once, each from where it was (C8)", () => {
    const sent: object[][] = [];
    const jobs = new FollowedJobs((frames) => sent.push(frames));
    const [first, second] = [new ModelFollower(0, 0), new ModelFollower(1, 0)];
    first.cursor = { epoch: "e", offset: 7, attempt: 1, snapshot: null };
    jobs.add(idOf(0), first);
    jobs.add(idOf(1), second);
    jobs.onConnect();
    expect(sent).toEqual([
      [
        { type: "follow", job_id: idOf(0), ref: 1, since: "e:7" },
        { type: "follow", job_id: idOf(1), ref: 2 },
      ],
    ]);
  });

  test("there is room for 100 of them, and for fewer once the edge has refused one (S12)", () => {
    const jobs = new FollowedJobs(() => undefined);
    for (let index = 0; index < LIMITS.followsPerSocket; index += 1) {
      expect(jobs.hasRoomFor(idOf(index))).toBe(true);
      jobs.add(idOf(index), new ModelFollower(index, 0));
    }
    expect(jobs.hasRoomFor(idOf(100))).toBe(false);
    expect(jobs.hasRoomFor(idOf(99))).toBe(true);
    const small = new SpaceModel(2, 1);
    small.up();
    small.follow(0);
    small.follow(1);
    small.serve(9);
    small.deliver(9);
    expect(small.followers.map(({ refusal }) => refusal?.code)).toEqual([
      undefined,
      "too_many_follows",
    ]);
    expect(small.jobs.hasRoomFor(idOf(1))).toBe(false);
    expect(small.jobs.size).toBe(1);
  });
});
