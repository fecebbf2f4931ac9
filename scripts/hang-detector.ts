/** Tells an edge that hangs or is broken from one that is only busy. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** How many checks in a row an idle edge may leave unanswered. */
const UNANSWERED_CHECKS = 3;
/**
 * How many checks may be answered with an error before one is answered well. wrangler's proxy answers so for a second
 * or two while wrangler starts workerd again; if that fails, it does so for good.
 */
const ERROR_CHECKS = 8;
/** A program that uses more than this share of a processor between two checks is busy. */
const BUSY_SHARE = 0.03;
/** How long an edge may be busy without answering, milliseconds: an endless loop is busy, too. */
const MAX_BUSY_MS = 300_000;
/** The unit of times in /proc, of which Linux has a hundred a second. */
const TICKS_PER_SECOND = 100;

/** One check of an edge. */
export interface EdgeCheck {
  /** `error`: any other answer than the edge's own that all is well, such as its proxy's that the edge is gone. */
  answer: "ok" | "error" | "none";
  /** Processor time that the edge has used so far, seconds; `null` if that can't be found out. */
  cpuS: number | null;
  /** When the check ended, milliseconds. */
  at: number;
}

/** Decides after each check whether the edge is to be started again. */
export class HangDetector {
  private last: EdgeCheck | null = null;
  private idleChecks = 0;
  private errorChecks = 0;
  private unansweredSince: number | null = null;

  /** Returns `hangs` or `broken` if the edge is to be started again, `busy` if it does not answer but works. */
  onCheck(check: EdgeCheck): "answers" | "busy" | "silent" | "hangs" | "broken" {
    const { last } = this;
    this.last = check;
    if (check.answer === "ok") {
      this.idleChecks = 0;
      this.errorChecks = 0;
      this.unansweredSince = null;
      return "answers";
    }
    this.unansweredSince ??= check.at;
    if (check.answer === "error") {
      this.errorChecks += 1;
      return this.errorChecks >= ERROR_CHECKS ? "broken" : "silent";
    }
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

/**
 * Processor time of the workerd processes of a group, seconds; `null` if that can't be found out. Without the proxy,
 * which listens on `port`: that works as long as somebody asks, whether the edge behind it does or not.
 */
export function workerdSeconds(group: number, port: number): number | null {
  try {
    return existsSync("/proc/self/stat") ? fromProc(group, port) : fromPs(group, port);
  } catch {
    return null;
  }
}

function listensOn(port: number, commandLine: string): boolean {
  return commandLine
    .split(/[\s\0]/)
    .some((word) => /^--socket-addr=entry=/.test(word) && word.endsWith(`:${port}`));
}

function fromProc(group: number, port: number): number {
  let ticks = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const [head = "", fields = ""] = readProc(pid, "stat").split(/\) (?=[^)]*$)/);
    // The fields after the name, as proc(5) lists them: the process group is the 3rd; the 12th and 13th are the
    // processor times in the program itself and in the kernel.
    const [, , pgid, , , , , , , , , user, system] = fields.split(" ");
    if (Number(pgid) !== group || !head.includes("workerd")) continue;
    if (!listensOn(port, readProc(pid, "cmdline"))) ticks += Number(user) + Number(system);
  }
  return ticks / TICKS_PER_SECOND;
}

function readProc(pid: string, file: "stat" | "cmdline"): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    // It has ended meanwhile.
    return "";
  }
}

/** `ps` prints times as `[hours:]minutes:seconds`, on macOS with hundredths. */
function fromPs(group: number, port: number): number {
  const listed = execFileSync("ps", ["-A", "-ww", "-o", "pgid=,time=,args="], { encoding: "utf8" });
  let seconds = 0;
  for (const line of listed.split("\n")) {
    const [pgid, time = "", ...words] = line.trim().split(/\s+/);
    const commandLine = words.join(" ");
    if (Number(pgid) !== group || !/workerd serve /.test(commandLine)) continue;
    if (listensOn(port, commandLine)) continue;
    seconds += time.split(/[-:]/).reduce((sum, part) => sum * 60 + Number(part), 0);
  }
  return seconds;
}
