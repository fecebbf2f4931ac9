import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DEFAULT_SETTINGS, type SpaceSettings } from "../../src/protocol/resources.ts";
import {
  admitInput,
  admitNow,
  admitPriority,
  admitSize,
  limitsFor,
} from "../../src/queue/admission.ts";
import type { Candidate } from "../../src/queue/dispatch.ts";

const OPEN: SpaceSettings = {
  ...DEFAULT_SETTINGS,
  enable_audio: true,
  enable_video: true,
  enable_file_upload: true,
  offline: "queue",
};

describe("an input", () => {
  it("is accepted if the space enables everything in it (H6a)", () => {
    const input = { prompt: "hi", steps: 4 };
    expect(admitInput(OPEN, input, ["audio", "video", "mask"])).toEqual({ ok: true });
    expect(admitInput({ ...OPEN, enable_prompt: false }, { steps: 4 }, [])).toEqual({ ok: true });
  });

  it("with a prompt, even an empty one, is refused if the space doesn't enable prompts", () => {
    const refused = admitInput({ ...OPEN, enable_prompt: false }, { prompt: "" }, []);
    expect(refused).toMatchObject({ ok: false, code: "prompt_not_enabled" });
    expect(refused).toHaveProperty("message", expect.stringMatching(/operator .*`enable_prompt`/));
  });

  it.each([
    ["audio", "enable_audio", "audio_not_enabled"],
    ["video", "enable_video", "video_not_enabled"],
    ["mask", "enable_file_upload", "file_upload_not_enabled"],
  ])("with a file in `%s` needs `%s` (H6a)", (field, setting, code) => {
    const refused = admitInput({ ...OPEN, [setting]: false }, {}, [field]);
    expect(refused).toMatchObject({ ok: false, code });
    expect(refused).toHaveProperty("message", expect.stringContaining(`\`${field}\``));
    expect(refused).toHaveProperty("message", expect.stringMatching(`operator .*\`${setting}\``));
  });

  it("that is too large for a row is refused, and the message has both sizes", () => {
    expect(admitSize(LIMITS.inputBytes)).toEqual({ ok: true });
    expect(admitSize(LIMITS.inputBytes + 1)).toMatchObject({
      code: "payload_too_large",
      message: expect.stringMatching(/524289 .*524288 /),
    });
  });
});

function worker(more: Partial<Candidate> = {}): Candidate {
  const idle = { slots: 1, busy: 0, load: 0, capabilities: new Set<string>(), draining: false };
  return { id: "w", ...idle, ...more };
}

function snapshotOf(workers: readonly Candidate[]) {
  return { workers, queued: 0, isFirst: false, queuedOfUser: null, classes: 0, hasClass: false };
}

describe("a submit", () => {
  it("without a connected worker is refused or queued, depending on the setting `offline`", () => {
    const refusing: SpaceSettings = { ...OPEN, offline: "refuse" };
    expect(admitNow(refusing, snapshotOf([]), [])).toMatchObject({ code: "worker_not_connected" });
    expect(admitNow(refusing, snapshotOf([worker()]), [])).toEqual({ ok: true });
    expect(admitNow(OPEN, snapshotOf([]), [])).toEqual({ ok: true });
  });

  it("is refused with the worker's state if it takes no new jobs", () => {
    const refusing: SpaceSettings = { ...OPEN, offline: "refuse" };
    const leaving = worker({ capabilities: new Set(["gpu"]), draining: true });
    const why = (workers: Candidate[], requires: string[]) => {
      const admission = admitNow(refusing, snapshotOf(workers), requires);
      return admission.ok ? "" : admission.message.split(",")[0];
    };
    expect(why([leaving], [])).toBe("The worker of this space takes no new jobs");
    expect(why([leaving, worker()], ["gpu"])).toBe("The worker with gpu takes no new jobs");
    expect(why([leaving, worker()], ["fp8"])).toBe("No connected worker has fp8");
  });

  it("that requires what no worker has is refused as if there were no worker, and says what is missing (W32)", () => {
    const refusing: SpaceSettings = { ...OPEN, offline: "refuse" };
    const workers = [worker({ capabilities: new Set(["gpu"]) }), worker({ draining: true })];
    expect(admitNow(refusing, snapshotOf(workers), ["gpu"])).toEqual({ ok: true });
    expect(admitNow(refusing, snapshotOf(workers), ["audio", "gpu"])).toMatchObject({
      code: "worker_not_connected",
      message: expect.stringContaining("has audio, gpu"),
    });
  });

  it("is refused when as many of its user's jobs wait as may, unless it has no user (Q2)", () => {
    const small = { ...OPEN, max_queued_per_user: 2 };
    const there = (queuedOfUser: number | null) => ({ ...snapshotOf([]), queued: 9, queuedOfUser });
    expect(admitNow(small, there(1), [])).toEqual({ ok: true });
    expect(admitNow(small, there(null), [])).toEqual({ ok: true });
    expect(admitNow(OPEN, there(2), [])).toEqual({ ok: true });
    expect(admitNow(small, there(2), [])).toMatchObject({
      code: "queue_full",
      message: expect.stringMatching(/^2 of your jobs .*`max_queued_per_user`/),
    });
  });

  it("of a user who has none waiting is taken although the queue is full, until a tenth more wait (Q2a)", () => {
    const small = { ...OPEN, max_queue: 25 };
    const at = (queued: number, isFirst: boolean, settings = small) => {
      return admitNow(settings, { ...snapshotOf([]), queued, isFirst }, []).ok;
    };
    expect([at(24, false), at(25, false), at(26, true), at(27, true)]).toEqual([
      ...[true, false, true, false],
    ]);
    expect(at(9, true, { ...OPEN, max_queue: 9 })).toBe(false);
  });

  it("with one more set of capabilities than may wait is refused, but not with a known one, or none (Q5)", () => {
    const full = { ...snapshotOf([]), classes: LIMITS.waitingClasses };
    expect(admitNow(OPEN, { ...full, classes: 199 }, ["a"])).toEqual({ ok: true });
    expect(admitNow(OPEN, { ...full, hasClass: true }, ["a"])).toEqual({ ok: true });
    expect(admitNow(OPEN, full, [])).toEqual({ ok: true });
    const refused = { code: "queue_full", message: expect.stringContaining("`requires`") };
    expect(admitNow(OPEN, full, ["a"])).toMatchObject(refused);
  });

  it("may have a priority up to that of its submitter's role (Q4)", () => {
    const settings = { ...OPEN, max_priority_anonymous: 0, max_priority_user: 5 };
    const at = (priority: number, userId: string | null, isManager = false) => {
      const admission = admitPriority(settings, priority, { isManager, userId });
      return admission.ok ? "" : `${admission.code}: ${admission.message}`;
    };
    expect([at(0, null), at(-100, null), at(5, "u"), at(100, null, true)]).toEqual([
      "",
      "",
      "",
      "",
    ]);
    expect(at(1, null)).toMatch(/^not_allowed: .*allows 0 .*max_priority_anonymous/);
    expect(at(6, "u")).toMatch(/^not_allowed: .*allows 5 .*max_priority_user/);
  });

  it("is refused when `max_queue` jobs are waiting", () => {
    const small = { ...OPEN, max_queue: 2 };
    expect(admitNow(small, { ...snapshotOf([worker()]), queued: 1 }, [])).toEqual({ ok: true });
    expect(admitNow(small, { ...snapshotOf([worker()]), queued: 2 }, [])).toMatchObject({
      code: "queue_full",
      message: expect.stringContaining("2 jobs wait"),
    });
  });
});

describe("the limits of a job", () => {
  const seconds = fc.integer({ min: 1, max: 1_000 });
  const ofSpace = fc.record({
    queue_timeout_s: fc.option(seconds),
    first_output_timeout_s: fc.option(seconds),
    stall_timeout_s: fc.option(seconds),
    job_timeout_s: seconds,
  });
  const options = fc.record(
    {
      queue_timeout_s: seconds,
      first_output_timeout_s: seconds,
      stall_timeout_s: seconds,
      job_timeout_s: seconds,
    },
    { requiredKeys: [] },
  );

  it("are the space's, or lower if the submitter requests it, but never higher (H5)", () => {
    fc.assert(
      fc.property(ofSpace, options, (settings, wanted) => {
        const limits = limitsFor({ ...DEFAULT_SETTINGS, ...settings }, wanted);
        const pairs = [
          [limits.queueTimeoutS, settings.queue_timeout_s, wanted.queue_timeout_s],
          [
            limits.firstOutputTimeoutS,
            settings.first_output_timeout_s,
            wanted.first_output_timeout_s,
          ],
          [limits.stallTimeoutS, settings.stall_timeout_s, wanted.stall_timeout_s],
          [limits.jobTimeoutS, settings.job_timeout_s, wanted.job_timeout_s],
        ];
        for (const [limit, space, job] of pairs) {
          const lowest = Math.min(
            space ?? Number.POSITIVE_INFINITY,
            job ?? Number.POSITIVE_INFINITY,
          );
          expect(limit).toBe(lowest === Number.POSITIVE_INFINITY ? null : lowest);
        }
      }),
    );
  });

  it("that only a space can set are taken from the space", () => {
    const settings = { ...DEFAULT_SETTINGS, max_attempts: 5, reconnect_grace_s: 2 };
    expect(limitsFor(settings, {})).toMatchObject({ maxAttempts: 5, reconnectGraceS: 2 });
  });
});
