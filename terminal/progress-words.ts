import type { JobProgress } from "../src/client/index.ts";
import { oneLine } from "./terminal-text.ts";

/** How a job stands, for the line that shows it. */
export interface Standing {
  status: JobProgress["status"];
  /** Percent. */
  progress: number;
  message: string | null;
  queuePosition: number | null;
  /** When the job will probably have ended, milliseconds since 1970; `null`: nobody knows. */
  endsAt: number | null;
}

const BAR_WIDTH = 24;
const NARROWEST = 20;

export function standingOf(event: JobProgress, now: number): Standing {
  const { status, progress, message, queue_position: queuePosition } = event;
  const remaining = event.estimated_remaining;
  const endsAt = remaining === null ? null : now + remaining * 1_000;
  const said = message === null ? null : oneLine(message, 300);
  return { status, progress, message: said, queuePosition, endsAt };
}

/** The line for a terminal of so many columns, redrawn again and again. */
export function barLine(standing: Standing, now: number, columns: number): string {
  const room = Math.max(columns - 1, NARROWEST);
  const parts = [...head(standing), remaining(standing, now), standing.message];
  return cut(parts.filter((part) => part !== null).join("  "), room);
}

function head({ status, progress, queuePosition }: Standing): string[] {
  if (status === "queued") {
    return [queuePosition === null ? "queued" : `queued, number ${queuePosition} in line`];
  }
  const filled = Math.round((Math.min(Math.max(progress, 0), 100) / 100) * BAR_WIDTH);
  const bar = "#".repeat(filled) + "-".repeat(BAR_WIDTH - filled);
  return [`[${bar}] ${Math.floor(progress)} %`];
}

function remaining({ endsAt, status }: Standing, now: number): string | null {
  if (endsAt === null || status !== "processing") return null;
  const seconds = Math.ceil((endsAt - now) / 1_000);
  return seconds <= 0 ? null : `about ${duration(seconds)} left`;
}

/** A time in the two largest units that matter. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How much progress is worth a line where lines stay, percent. */
const STEP = 10;

/** The line for a log; `null` if not enough has changed since the last one. */
export function plainLine(standing: Standing, last: Standing | null): string | null {
  const { status, progress, message, queuePosition } = standing;
  if (status === "queued") {
    const isKnown = last?.status === "queued" && last.queuePosition === queuePosition;
    return isKnown ? null : head(standing).join("");
  }
  if (status !== "processing") return null;
  const isNew = last?.status !== "processing";
  const isStep = isNew || Math.floor(progress / STEP) !== Math.floor(last.progress / STEP);
  if (!isStep && message === last?.message) return null;
  const words = message === null ? "" : `  ${message}`;
  return `${isNew && progress === 0 && message === null ? "running" : `${Math.floor(progress)} %`}${words}`;
}

/** As many characters as fit; each counts as one column, or two where it is wide. */
export function cut(text: string, columns: number): string {
  let width = 0;
  let shown = "";
  for (const { segment } of CHARACTERS.segment(text)) {
    width += WIDE.test(segment) ? 2 : 1;
    if (width > columns) return shown;
    shown += segment;
  }
  return shown;
}

const CHARACTERS = new Intl.Segmenter("und", { granularity: "grapheme" });
const WIDE =
  /[\p{Emoji_Presentation}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\uff01-\uff60]/u;
