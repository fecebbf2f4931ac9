import { spawn } from "node:child_process";
import { chmod, copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { HangDetector, workerdSeconds } from "../../scripts/hang-detector.ts";

/** What the detector says to checks, 4 seconds apart, with this much processor time used before each. */
function statesOf(checks: [isAnswered: boolean, cpuS: number | null][]) {
  const detector = new HangDetector();
  return checks.map(([isAnswered, cpuS], index) =>
    detector.onCheck({ isAnswered, cpuS, at: index * 4_000 }),
  );
}

describe("the watcher of npm start", () => {
  it("starts an idle edge again that leaves three checks in a row unanswered", () => {
    const states = statesOf([
      [true, 1],
      [false, 1],
      [false, 1.01],
      [false, 1.02],
    ]);
    expect(states).toEqual(["answers", "silent", "silent", "hangs"]);
  });

  it("leaves an edge alone that is only busy, and counts from then on when it is idle", () => {
    const busy = Array.from({ length: 20 }, (_, n): [boolean, number] => [false, 1 + n]);
    expect(new Set(statesOf([[true, 0], ...busy]))).toEqual(new Set(["answers", "busy"]));
    const idle: [boolean, number][] = [
      [false, 20],
      [false, 20],
      [false, 20],
    ];
    expect(statesOf([[true, 0], ...busy, ...idle]).slice(-3)).toEqual([
      "silent",
      "silent",
      "hangs",
    ]);
  });

  it("starts an edge again that was busy for five minutes without an answer", () => {
    const busy = Array.from({ length: 80 }, (_, n): [boolean, number] => [false, 1 + n]);
    expect(statesOf(busy).indexOf("hangs")).toBe(75);
  });

  it("takes an edge for idle whose processor time it can't find out", () => {
    const unknown = Array.from({ length: 3 }, (): [boolean, null] => [false, null]);
    expect(statesOf(unknown).at(-1)).toBe("hangs");
  });

  it("finds out the processor time of the workerd processes of a group", async () => {
    const folder = await mkdtemp(join(tmpdir(), "workerd-"));
    // A program of that name which is busy.
    const program = join(folder, "workerd");
    await copyFile("/bin/bash", program);
    await chmod(program, 0o755);
    const child = spawn(program, ["-c", "while :; do :; done"], { detached: true });
    onTestFinished(async () => {
      child.kill("SIGKILL");
      await rm(folder, { recursive: true, force: true });
    });
    const group = child.pid ?? 0;
    await expect.poll(() => workerdSeconds(group), { timeout: 20_000 }).toBeGreaterThan(0.1);
    expect(workerdSeconds(process.pid)).toBe(0);
  });
});
