import pc from "picocolors";
import type { Log } from "./log.ts";

type LogLevel = "DEBUG" | "INFO" | "WARN" | "ERROR";

/** Writes readable lines to standard error; nothing is written to standard output. */
export function consoleLog(verbose: boolean): Log {
  const { isTTY } = process.stderr;
  const colors = pc.createColors(isTTY === true && !process.env.NO_COLOR);
  const paint: Record<LogLevel, (text: string) => string> = {
    DEBUG: colors.gray,
    INFO: colors.green,
    WARN: colors.yellow,
    ERROR: colors.red,
  };
  const write = (level: LogLevel) => (message: string) => {
    const time = colors.gray(localTime(new Date()));
    process.stderr.write(`${time} ${paint[level](level.padEnd(5))} ${printable(message)}\n`);
  };
  return {
    debug: verbose ? write("DEBUG") : () => {},
    info: write("INFO"),
    warn: write("WARN"),
    error: write("ERROR"),
  };
}

/** Removes control characters: messages may quote untrusted text with escape sequences for the terminal. */
function printable(message: string): string {
  return message.replace(/\p{Cc}/gu, (character) => (character === "\n" ? "\n  " : "?"));
}

function localTime(now: Date): string {
  const twoDigits = (value: number) => String(value).padStart(2, "0");
  const date = `${now.getFullYear()}-${twoDigits(now.getMonth() + 1)}-${twoDigits(now.getDate())}`;
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map(twoDigits).join(":");
  return `${date} ${time}.${String(now.getMilliseconds()).padStart(3, "0")}`;
}
