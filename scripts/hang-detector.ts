/** Tells an edge that hangs from one that is only busy. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** How many checks in a row an idle edge may leave unanswered. */
const UNANSWERED_CHECKS = 3;
/** A program that uses more than this share of a processor between two checks is busy. */
const BUSY_SHARE = 0.03;
/** How long an edge may be busy without answering, milliseconds: an endless loop is busy, too. */
const MAX_BUSY_MS = 300_000;
/** The unit of times in /proc, of which Linux has a hundred a second. */
const TICKS_PER_SECOND = 100;

/** One check of an edge. */
export interface EdgeCheck {
  isAnswered: boolean;
  /** Processor time that the edge has used so far, seconds; `null` if that can't be found out. */
  cpuS: number | null;
  /** When the check ended, milliseconds. */
  at: number;
}

/** Decides after each check whether the edge is to be started again. */
export class HangDetector {
  private last: EdgeCheck | null = null;
  private idleChecks = 0;
  private unansweredSince: number | null = null;

  /** Returns `hangs` if the edge is to be started again, `busy` if it does not answer but works. */
  onCheck(check: EdgeCheck): "answers" | "busy" | "silent" | "hangs" {
    const { last } = this;
    this.last = check;
    if (check.isAnswered) {
      this.idleChecks = 0;
      this.unansweredSince = null;
      return "answers";
    }
    this.unansweredSince ??= check.at;
    const isBusy = last !== null && hasWorked(last, check);
    this.idleChecks = isBusy ? 0 : this.idleChecks + 1;
    const isOver = check.at - this.unansweredSince >= MAX_BUSY_MS;
    if (this.idleChecks >= UNANSWERED_CHECKS || isOver) return "hangs";
    return isBusy ? "busy" : "silent";
  }
}

function hasWorked(before: EdgeCheck, now: EdgeCheck): boolean {
  if (before.cpuS === null || now.cpuS === null) return false;
  return now.cpuS - before.cpuS > ((now.at - before.at) / 1_000) * BUSY_SHARE;
}

/** Processor time of the workerd processes of a group, seconds; `null` if that can't be found out. */
export function workerdSeconds(group: number): number | null {
  try {
    return existsSync("/proc/self/stat") ? fromProc(group) : fromPs(group);
  } catch {
    return null;
  }
}

function fromProc(group: number): number {
  let ticks = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const [head = "", fields = ""] = readStat(pid).split(/\) (?=[^)]*$)/);
    // The fields after the name, as proc(5) lists them: the process group is the 3rd; the 12th and 13th are the
    // processor times in the program itself and in the kernel.
    const [, , pgid, , , , , , , , , user, system] = fields.split(" ");
    if (Number(pgid) === group && head.includes("workerd")) ticks += Number(user) + Number(system);
  }
  return ticks / TICKS_PER_SECOND;
}

function readStat(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    // It has ended meanwhile.
    return "";
  }
}

/** `ps` prints times as `[hours:]minutes:seconds`, on macOS with hundredths. */
function fromPs(group: number): number {
  const listed = execFileSync("ps", ["-A", "-o", "pgid=,time=,comm="], { encoding: "utf8" });
  let seconds = 0;
  for (const line of listed.split("\n")) {
    const [pgid, time = "", ...name] = line.trim().split(/\s+/);
    if (Number(pgid) !== group || !name.join(" ").includes("workerd")) continue;
    seconds += time.split(/[-:]/).reduce((sum, part) => sum * 60 + Number(part), 0);
  }
  return seconds;
}
