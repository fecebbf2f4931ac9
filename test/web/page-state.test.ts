import { describe, expect, test } from "vitest";
import {
  cursorAt,
  type JobChannelFrame,
  type JobCursor,
  readJobFrame,
} from "../../src/client/job-channel.ts";
import { DEFAULT_SETTINGS, type SpaceResource } from "../../src/protocol/resources.ts";
import type { JobProgressFrame } from "../../src/protocol/subscriber-frames.ts";
import type { TabJob } from "../../src/web/job-state.ts";
import { initialState, type PageEvent, type PageState, reduce } from "../../src/web/page-state.ts";
import { shownRefusal, submitTrouble } from "../../src/web/wording.ts";

const AT = "2026-01-01T00:00:00.000Z";
const JOB = "attic.01JADE00000000000000000001";
const OTHER = "attic.01JADE00000000000000000002";

/** How far the job of a state was read: the page gets its frames through the client library. */
const cursors = new WeakMap<PageState, JobCursor>();

function run(start: PageState, ...steps: (PageEvent | JobChannelFrame)[]): PageState {
  let state = start;
  let cursor = cursors.get(start) ?? cursorAt(null);
  for (const step of steps) {
    if ("kind" in step) state = reduce(state, step);
    else {
      const read = readJobFrame(cursor, step);
      const id = "job_id" in step ? (step.job_id ?? "") : "";
      cursor = read.cursor;
      for (const event of read.events) state = reduce(state, { kind: "job.event", id, event });
    }
  }
  // Several tests go on from the same state.
  if (state !== start) cursors.set(state, cursor);
  return state;
}

function connection(offset: number, recovered: boolean, epoch = "e1"): JobChannelFrame {
  return { type: "connection", job_id: JOB, epoch, offset, recovered, timestamp: AT };
}

function status(queue_size: number): PageEvent {
  const counts = { queue_size, processing: 0, estimated_wait_s: null };
  return { kind: "status", status: { worker: "connected", ...counts } };
}

function progress(offset: number, change: Partial<JobProgressFrame> = {}): JobChannelFrame {
  const nothing = { estimated_remaining: null, message: null, output_path: null };
  const base = { ...nothing, status: "processing", progress: 10, queue_position: null } as const;
  const event = { job_id: JOB, attempt: 1, offset, timestamp: AT };
  return { type: "progress", ...base, ...event, ...change };
}

function output(offset: number, delta: string | { n: number }, attempt = 1): JobChannelFrame {
  return { type: "output", job_id: JOB, attempt, delta, offset, timestamp: AT };
}

function gap(offset: number): JobChannelFrame {
  return { type: "gap", job_id: JOB, offset, timestamp: AT };
}

function refused(code: string, message = "No."): PageEvent {
  return { kind: "job.refused", id: JOB, code, message };
}

/** A page on an open socket that remembers one job. */
const attached = run(
  initialState([{ id: JOB, label: "a story" }]),
  { kind: "link.opened" },
  status(2),
);
const sending = run(attached, { kind: "submit.sent", ref: "r1", label: "a poem" });

function jobOf(state: PageState, id = JOB): TabJob {
  const job = state.jobs.find((known) => known.id === id);
  if (job === undefined) throw new Error(`no job ${id}`);
  return job;
}

describe("the state of the space", () => {
  test("each status replaces the one before", () => {
    expect(attached.status).toMatchObject({ worker: "connected", queue_size: 2 });
    expect(run(attached, status(5)).status?.queue_size).toBe(5);
  });

  test("the answer to an earlier request does not undo a newer status", () => {
    const old = { worker: "disconnected", queue_size: 0, processing: 0, estimated_wait_s: null };
    const resource = { ...DEFAULT_SETTINGS, name: "attic", status: old } as SpaceResource;
    expect(run(attached, { kind: "space.loaded", resource }).status?.worker).toBe("connected");
    const early = run(initialState([]), { kind: "space.loaded", resource });
    expect(early.status?.worker).toBe("disconnected");
  });
});

describe("a followed job", () => {
  const begun = run(
    attached,
    connection(3, false),
    output(1, "Once "),
    output(2, "upon"),
    progress(3),
  );

  test("a snapshot is shown with its output", () => {
    expect(jobOf(begun).output).toBe("Once upon");
    expect(jobOf(begun).phase).toMatchObject({ status: "processing", progress: 10 });
  });

  test("the same output again changes nothing", () => {
    expect(run(begun, output(2, "upon"))).toBe(begun);
    expect(jobOf(run(begun, output(4, " a"), output(4, " a"))).output).toBe("Once upon a");
  });

  test("out-of-date progress changes nothing", () => {
    const later = run(begun, progress(6, { progress: 60, skipped: 2 }));
    expect(run(later, progress(5, { progress: 40 }))).toBe(later);
    expect(run(later, progress(6, { progress: 99 }))).toBe(later);
  });

  test("recovered: false drops the old output and applies the snapshot (C10)", () => {
    const again = run(
      begun,
      connection(5, false, "e2"),
      output(1, "Once "),
      output(2, "upon "),
      output(4, "a time"),
      progress(5, { progress: 50 }),
    );
    expect(jobOf(again)).toMatchObject({ output: "Once upon a time", outputCut: false });
    expect(jobOf(again).phase).toMatchObject({ progress: 50 });
  });

  test("recovered: true keeps the old output and continues after it (C9)", () => {
    const again = run(
      begun,
      { kind: "link.lost", reason: null },
      connection(3, true),
      output(4, " a"),
    );
    expect(jobOf(again).output).toBe("Once upon a");
  });

  test("JSON pieces appear on their own lines among the text", () => {
    const mixed = run(begun, output(4, { n: 1 }), output(5, "a time"));
    expect(jobOf(mixed).output).toBe('Once upon\n{\n  "n": 1\n}\na time');
  });

  test("another attempt starts its output again, and late frames of the earlier one are dropped (S5)", () => {
    const second = run(begun, progress(4, { attempt: 2, progress: 0 }), output(5, "New", 2));
    const late = run(second, output(6, "old", 1), progress(7, { attempt: 1, progress: 90 }));
    expect(jobOf(late).output).toBe("New");
    expect(jobOf(late)).toMatchObject({ attempt: 2, phase: { progress: 0 } });
  });

  test("a final state never changes", () => {
    const done = run(begun, progress(4, { status: "completed", progress: 100, result: { n: 1 } }));
    expect(jobOf(done).phase).toEqual({ status: "completed", result: { n: 1 }, outputPath: null });
    const after = run(done, progress(5), { kind: "cancel.asked", id: JOB });
    expect(jobOf(after).phase).toEqual(jobOf(done).phase);
    expect(jobOf(after).cancel.kind).toBe("none");
  });

  test("a failed job shows the reason", () => {
    const error = { code: "worker_error", message: "Out of memory." } as const;
    const failed = run(begun, progress(4, { status: "failed", error }));
    expect(jobOf(failed).phase).toEqual({ status: "failed", error });
  });

  test("a gap says that the beginning of the output was dropped, and nothing else is lost", () => {
    const cut = run(attached, connection(9, false), gap(6), output(7, "end"), progress(9));
    expect(jobOf(cut)).toMatchObject({ output: "end", outputCut: true, attempt: 1 });
    expect(jobOf(begun).outputCut).toBe(false);
    const more = run(cut, output(10, "less"));
    expect(jobOf(more)).toMatchObject({ output: "endless", outputCut: true });
  });

  test("the note about dropped output disappears with a complete snapshot or another attempt", () => {
    const cut = run(attached, connection(9, false), gap(6), output(7, "end"), progress(9));
    const whole = run(cut, connection(3, false, "e2"), output(3, "all"), progress(3));
    expect(jobOf(whole)).toMatchObject({ output: "all", outputCut: false });
    const second = run(cut, progress(10, { attempt: 2 }), output(11, "new", 2));
    expect(jobOf(second)).toMatchObject({ output: "new", outputCut: false });
    const seenLate = run(
      cut,
      connection(30, false),
      gap(26),
      output(27, "rest", 2),
      progress(30, { attempt: 2 }),
    );
    expect(jobOf(seenLate)).toMatchObject({ output: "rest", outputCut: true, attempt: 2 });
  });

  test("a job the edge no longer keeps is dropped with a note", () => {
    const gone = run(attached, refused("job_not_found"));
    expect(gone.jobs).toEqual([]);
    expect(gone.notices[0]?.text).toContain("has expired");
  });

  test("a link that no longer opens its job is said, and no job is left", () => {
    const job = { id: JOB, label: "", share: "dos_1" };
    const shared = run(initialState([]), { kind: "job.attached", job });
    expect(jobOf(shared).share).toBe("dos_1");
    const gone = run(shared, refused("not_authenticated"));
    expect(gone.jobs).toEqual([]);
    expect(gone.notices[0]?.text).toContain("no longer opens");
  });

  test("any other refusal to follow is shown at the job, which stays", () => {
    const secret = run(attached, refused("not_allowed", "Not yours."));
    expect(jobOf(secret).note).toBe("Not yours.");
    const allowed = run(secret, connection(1, false), progress(1));
    expect(jobOf(allowed).note).toBeNull();
  });

  test("an event of an unknown job changes nothing", () => {
    const known = run(attached, connection(1, false));
    expect(run(known, { ...progress(9), job_id: OTHER } as JobChannelFrame)).toBe(known);
  });
});

describe("submitting", () => {
  const no = { code: "worker_not_connected", message: "No worker is connected." };

  test("an accepted job is the newest of the list", () => {
    const answer = { kind: "submit.answered", ref: "r1", id: OTHER } as const;
    const taken = run(sending, answer);
    expect(taken.jobs.map(({ id }) => id)).toEqual([OTHER, JOB]);
    expect(jobOf(taken, OTHER)).toMatchObject({ label: "a poem", phase: { status: "queued" } });
    expect(taken).toMatchObject({ submission: { kind: "idle" }, accepted: 1 });
    expect(run(taken, answer)).toBe(taken);
  });

  test("a refusal names its reason and accepts nothing", () => {
    const refused = run(sending, { kind: "submit.refused", ref: "r1", ...no });
    const submission = { kind: "refused", code: "worker_not_connected" };
    expect(refused).toMatchObject({ submission, accepted: 0 });
  });

  test("the answer to another submit changes nothing", () => {
    expect(run(sending, { kind: "submit.refused", ref: "r0", ...no })).toBe(sending);
    expect(run(sending, { kind: "submit.delayed", ref: "r0", trouble: "Slow." })).toBe(sending);
  });

  test("a submit outlives the socket, and says why it has not arrived until it can again", () => {
    const delayed = run(
      sending,
      { kind: "link.lost", reason: null },
      { kind: "submit.delayed", ref: "r1", trouble: "The edge can't be reached." },
    );
    expect(submitTrouble(delayed)).toBe("The edge can't be reached. Trying again…");
    const back = run(delayed, { kind: "link.opened" });
    expect(submitTrouble(back)).toBeNull();
    expect(back.submission.kind).toBe("sending");
    expect(run(back, { kind: "submit.answered", ref: "r1", id: OTHER }).accepted).toBe(1);
  });

  test("what was wrong with the last try is not said while the next one is under way over a network that works", () => {
    const delayed: PageEvent = { kind: "submit.delayed", ref: "r1", trouble: "Slow." };
    const repeated: PageEvent = { kind: "submit.repeated", ref: "r1" };
    const connected = run(sending, { kind: "link.opened" }, delayed);
    expect(submitTrouble(connected)).toBe("Slow. Trying again…");
    expect(submitTrouble(run(connected, repeated))).toBeNull();
    const offline = run(sending, { kind: "link.lost", reason: null }, delayed, repeated);
    expect(submitTrouble(offline)).toBe("Slow. Trying again…");
  });

  test("a submit that was stopped leaves the form as it is", () => {
    const stopped = run(sending, { kind: "submit.stopped", ref: "r1" });
    expect(stopped).toMatchObject({
      submission: { kind: "refused", code: "stopped" },
      accepted: 0,
    });
  });

  test("changing the draft removes the refusal", () => {
    const refused = run(sending, { kind: "submit.refused", ref: "r1", ...no });
    expect(run(refused, { kind: "draft.changed" }).submission.kind).toBe("idle");
    expect(run(sending, { kind: "draft.changed" })).toBe(sending);
  });

  test("a refusal for lack of a worker is not shown while one is connected", () => {
    const refused = run(sending, { kind: "submit.refused", ref: "r1", ...no });
    expect(shownRefusal(refused)).toBeNull();
    expect(shownRefusal({ ...refused, status: null })).toMatchObject(no);
  });
});

describe("the connection", () => {
  test("keeps the reason of a break while it is dialed again", () => {
    const reason = "The edge can't be reached.";
    const lost = run(attached, { kind: "link.lost", reason: null }, { kind: "link.lost", reason });
    expect(run(lost, { kind: "link.lost", reason: null })).toBe(lost);
    expect(lost.link).toEqual({ kind: "lost", reason });
    expect(run(lost, { kind: "link.opened" }).link).toEqual({ kind: "open" });
  });

  test("a job that had not ended is shown as gone with its deleted space, and nothing waits any more", () => {
    const before = run(attached, connection(1, false), progress(1), output(2, "half"));
    const error = { code: "not_found", message: "The space was deleted." };
    const deleted = run(before, { kind: "link.closed", error });
    expect(deleted.status).toBeNull();
    expect(jobOf(deleted)).toMatchObject({
      phase: { status: "failed" },
      note: expect.stringContaining("was deleted"),
      output: "half",
    });
    const ended = run(before, progress(3, { status: "completed", result: 1 }));
    const kept = run(ended, { kind: "link.closed", error });
    expect(jobOf(kept)).toBe(jobOf(ended));
    const secret = { code: "not_authenticated", message: "This space is private now." };
    expect(jobOf(run(before, { kind: "link.closed", error: secret }))).toBe(jobOf(before));
  });

  test("says why the space has not loaded, until it has", () => {
    const waiting = run(initialState([]), { kind: "space.delayed", trouble: "Nobody answers." });
    expect(waiting.space).toEqual({ kind: "loading", trouble: "Nobody answers." });
    const resource = { ...DEFAULT_SETTINGS, name: "attic" } as SpaceResource;
    const loaded = run(waiting, { kind: "space.loaded", resource });
    expect(run(loaded, { kind: "space.delayed", trouble: "Again." })).toBe(loaded);
  });

  test("a cancel that was refused can be asked again once there is a connection", () => {
    const refused = run(attached, { kind: "cancel.refused", id: JOB, message: "No." });
    expect(jobOf(run(refused, { kind: "link.opened" })).cancel.kind).toBe("none");
  });
});
