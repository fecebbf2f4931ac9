import { parseJson } from "../../../src/protocol/codec.ts";
import { JobAborted, JobFailure } from "../../failure.ts";
import type { Log } from "../../log.ts";
import { type LocalAnswer, readText, ServerUnreachable } from "./local-request.ts";

/** How much of a server's message is shown to submitters, characters. */
const SHOWN_CHARS = 500;
const READ_CHARS = 20_000;

/** Statuses below 500 after which another attempt may succeed. */
const TEMPORARY = new Set([408, 425, 429]);

/**
 * The failure of a job that a server refused. What the server says about a wrong request (4xx) is passed on, because
 * it is about what the submitter sent; what it says about itself (5xx) is only logged. Another attempt is made after
 * a 5xx, and after 4xx that are temporary.
 */
export async function refusalOf(answer: LocalAnswer, log: Log): Promise<JobFailure> {
  const { status } = answer;
  const text = await readText(answer, READ_CHARS).catch(() => "");
  log.warn(`the server answered with status ${status}: ${text.slice(0, 2_000)}`);
  const said = status < 500 ? messageIn(text) : null;
  const words = said === null ? `failed with status ${status}.` : `refused this: ${said}`;
  const isRetryable = status >= 500 || TEMPORARY.has(status);
  return new JobFailure("worker_error", `The model's server ${words}`, isRetryable);
}

/** The failure of a job whose server could not be reached; another attempt may find it back. */
export function failureFrom(error: unknown, log: Log): unknown {
  if (!(error instanceof ServerUnreachable)) return error;
  log.warn(`the server could not be reached: ${error.message}`);
  const words = error.isAway ? "can't be reached just now" : "ended the connection too early";
  return new JobFailure("worker_error", `The model's server ${words}.`, true);
}

/** Runs `act`, and turns errors about the connection into failures that submitters may read. */
export async function withPlainErrors<T>(
  act: () => Promise<T>,
  { log, signal, onAway }: { log: Log; signal: AbortSignal; onAway?: (() => void) | undefined },
): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (signal.aborted) throw signal.reason ?? new JobAborted("canceled");
    if (error instanceof ServerUnreachable && error.isAway) onAway?.();
    throw failureFrom(error, log);
  }
}

/** What a server's answer says in words; `null` if it says nothing that can be shown. */
export function messageIn(body: string): string | null {
  const parsed = parseJson(body);
  const message = parsed.ok ? wordsOf(parsed.value) : null;
  if (message === null || message.trim() === "") return null;
  const shown = withoutPlaces(message.replace(/\s+/g, " ").trim());
  return shown.length > SHOWN_CHARS ? `${shown.slice(0, SHOWN_CHARS)}…` : shown;
}

/** Where servers put their words: OpenAI `error.message`, FastAPI `detail`, RFC 9457 `detail`, Ollama `error`. */
function wordsOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return listed(value);
  if (typeof value !== "object" || value === null) return null;
  const { error, detail, message, msg, loc, title } = value as Record<string, unknown>;
  if (typeof msg === "string") {
    const where = Array.isArray(loc) ? loc.filter((part) => part !== "body").join(".") : "";
    return where === "" ? msg : `${where}: ${msg}`;
  }
  return wordsOf(error) ?? wordsOf(detail) ?? wordsOf(message) ?? wordsOf(title);
}

function listed(values: unknown[]): string | null {
  const words = values.slice(0, 5).flatMap((value) => wordsOf(value) ?? []);
  return words.length === 0 ? null : words.join("; ");
}

const ADDRESS = /\b[a-z][a-z+.-]*:\/\/[^\s"'<>)]+/gi;
const HOST_AND_PORT = /\b(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|[\w-]+(?:\.[\w-]+)+):\d{2,5}\b/gi;
const PATH = /(?<![\w.])(?:\/[\w.@+-]+){2,}\/?|\b[A-Z]:\\[^\s"']+/g;

/** The text without addresses and paths of this machine: submitters are strangers (W18a). */
export function withoutPlaces(text: string): string {
  return text.replace(ADDRESS, "…").replace(HOST_AND_PORT, "…").replace(PATH, "…");
}
