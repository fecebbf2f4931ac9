import { describe, expect, test } from "vitest";
import { newAttempt, replay, withCompletion } from "../../worker-client/attempt.ts";
import { encodeFrame } from "../../worker-client/encode.ts";
import { OutputLog } from "../../worker-client/output-log.ts";
import { JOB_ID } from "../support/fake-edge.ts";

describe("output kept in memory", () => {
  const frame = (delta: string) => ({ text: JSON.stringify({ delta }), bytes: 10 });

  test("is bounded: the oldest frames are removed first, which loses nothing that the edge has stored (W26a)", () => {
    const log = new OutputLog(30);
    for (const delta of ["a", "b", "c", "d", "e"]) log.append(frame(delta));
    expect(log.resumeAt(3)).toEqual({ frames: [frame("d"), frame("e")], lost: 0 });
    expect(log.joined()).toBeUndefined();
  });

  test("counts on from what the edge has stored when frames are missing", () => {
    const log = new OutputLog(30);
    for (const delta of ["a", "b", "c", "d", "e"]) log.append(frame(delta));
    expect(log.resumeAt(0)).toEqual({ frames: [frame("c"), frame("d"), frame("e")], lost: 2 });
    log.append(frame("f"));
    expect(log.resumeAt(3)).toEqual({ frames: [frame("f")], lost: 0 });
  });
});

describe("what an edge lacks after a reconnect", () => {
  const REPLAYED = { job_id: JOB_ID, attempt: 1 };

  function attemptWith(...deltas: string[]) {
    const attempt = newAttempt(REPLAYED);
    for (const delta of deltas) {
      const encoded = encodeFrame({ type: "output", ...REPLAYED, delta }, 1_048_576);
      if (!encoded.ok) throw new Error(encoded.message);
      attempt.outputs.append(encoded.frame);
    }
    return attempt;
  }

  test("can be sent if each frame is as large as the edge takes them now, and not if one is larger", () => {
    const attempt = attemptWith("a", "bb");
    const texts = attempt.outputs.resumeAt(0).frames.map(({ text }) => text);
    const largest = texts[1]?.length ?? 0;
    expect(replay(attempt, 0, largest)).toEqual({ type: "frames", texts, lost: 0 });
    expect(replay(attempt, 0, largest - 1)).toEqual({
      type: "unsendable",
      message: `A frame that must be sent no longer fits: the edge accepts ${largest - 1} bytes at most.`,
    });
    expect(replay(attempt, 2, largest - 1)).toEqual({ type: "frames", texts: [], lost: 0 });
  });

  test("is its output, then the latest progress, then its end", () => {
    const ended = withCompletion(attemptWith("a"), { type: "result", output: 1 }, 1_000);
    ended.progress = "the progress";
    const [output] = ended.outputs.resumeAt(0).frames;
    expect(replay(ended, 0, 1_000)).toEqual({
      type: "frames",
      texts: [output?.text, "the progress", ended.completion.text],
      lost: 0,
    });
    expect(replay(ended, 1, ended.completion.bytes - 1).type).toBe("unsendable");
  });
});
