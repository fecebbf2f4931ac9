import { spawn } from "node:child_process";
import { chmod, copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type EdgeCheck, HangDetector, workerdSeconds } from "../../scripts/hang-detector.ts";

type Check = [answer: EdgeCheck["answer"], cpuS: number | null];

/** What the detector says to checks, 4 seconds apart, with this much processor time used before each. */
function statesOf(checks: Check[]) {
  const detector = new HangDetector();
  return checks.map(([answer, cpuS], index) =>
    detector.onCheck({ answer, cpuS, at: index * 4_000 }),
  );
}

describe("the watcher of npm start", () => {
  it("starts an idle edge again that leaves three checks in a row unanswered", () => {
    const states = statesOf([
      ["ok", 1],
      ["none", 1],
      ["none", 1.01],
      ["none", 1.02],
    ]);
    expect(states).toEqual(["answers", "silent", "silent", "hangs"]);
  });

  it("leaves an edge alone that is only busy, and counts from then on when it is idle", () => {
    const busy = Array.from({ length: 20 }, (_, n): Check => ["none", 1 + n]);
    expect(new Set(statesOf([["ok", 0], ...busy]))).toEqual(new Set(["answers", "busy"]));
    const idle: Check[] = [
      ["none", 20],
      ["none", 20],
      ["none", 20],
    ];
    expect(statesOf([["ok", 0], ...busy, ...idle]).slice(-3)).toEqual([
      "silent",
      "silent",
      "hangs",
    ]);
  });

  it("starts an edge again that was busy for five minutes without an answer", () => {
    const busy = Array.from({ length: 80 }, (_, n): Check => ["none", 1 + n]);
    expect(statesOf(busy).indexOf("hangs")).toBe(75);
  });

  it("starts an edge again that answers only with errors, however busy it is", () => {
    const errors = Array.from({ length: 8 }, (_, n): [answer: "error", cpuS: number] => [
      "error",
      1 + 4 * n,
    ]);
    const states = statesOf([["ok", 0], ...errors]);
    expect(states.slice(0, 8)).toEqual(["answers", ...new Array(7).fill("silent")]);
    expect(states.at(-1)).toBe("broken");
    const mixed = errors.flatMap((error): Check[] => [error, ["none", error[1] + 2]]);
    expect(statesOf([["ok", 0], ...mixed]).indexOf("broken")).toBe(15);
  });

  it("leaves an edge alone that answers with errors for a moment, while it starts again", () => {
    const moment = Array.from({ length: 7 }, (): Check => ["error", 1]);
    const states = statesOf([...moment, ["ok", 1], ...moment, ["ok", 1]]);
    expect(new Set(states)).toEqual(new Set(["silent", "answers"]));
  });

  it("takes an edge for idle whose processor time it can't find out", () => {
    const unknown = Array.from({ length: 3 }, (): Check => ["none", null]);
    expect(statesOf(unknown).at(-1)).toBe("hangs");
  });

  it("finds out the processor time of the workerd processes of a group, without the proxy's", async () => {
    const folder = await mkdtemp(join(tmpdir(), "workerd-"));
    // A program of that name which is busy.
    const program = join(folder, "workerd");
    await copyFile("/bin/bash", program);
    await chmod(program, 0o755);
    const words = ["-c", "while :; do :; done", "serve", "--socket-addr=entry=127.0.0.1:8787"];
    const child = spawn(program, words, { detached: true });
    onTestFinished(async () => {
      child.kill("SIGKILL");
      await rm(folder, { recursive: true, force: true });
    });
    const group = child.pid ?? 0;
    await expect.poll(() => workerdSeconds(group, 8788), { timeout: 20_000 }).toBeGreaterThan(0.1);
    expect(workerdSeconds(group, 8787)).toBe(0);
    expect(workerdSeconds(group, 787)).toBeGreaterThan(0.1);
    expect(workerdSeconds(process.pid, 8788)).toBe(0);
  });
});
