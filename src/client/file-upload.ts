import { z } from "zod";
import { LIMITS } from "../protocol/limits.ts";
import { isFinal } from "./answer.ts";
import { type Edge, segment } from "./edge.ts";
import { asDialoutError, DialoutError } from "./errors.ts";
import { checkedDuration } from "./http.ts";
import type { SendOptions } from "./sending.ts";
import { sleep } from "./time-limit.ts";

/** A file that the edge has; a job of its space can have it once. */
export interface UploadedFile {
  /** Its id, which is the right to use it: treat it like a secret. */
  readonly upload: string;
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

/** How far an upload has come. */
export interface UploadProgress {
  /** Bytes that the edge has stored. */
  sent: number;
  /** Bytes of the whole file. */
  size: number;
  /** Keep it to go on later, with the same file: as `resume`, also after a restart or on another page. */
  upload: string;
}

export interface UploadOptions extends SendOptions {
  /** What the file is called; a `File` has a name of its own. */
  name?: string;
  /** The field of the job that it is for, so that the space can refuse it before any of it is sent. */
  field?: string;
  /** The id of an upload of the same file that was broken off: it goes on there, or begins anew if that is gone. */
  resume?: string;
  /** Called once the edge knows the upload, and each time when more of it is stored. */
  onProgress?(progress: UploadProgress): void;
}

const place = z.object({ id: z.string(), name: z.string(), size: z.int(), offset: z.int() });
type Place = z.infer<typeof place>;
const nothing = z.null();

const TUS = { "tus-resumable": "1.0.0" };
/** The edge stores files in parts of this size: what ends with one is stored at once, bytes. */
const PART_BYTES = 8_388_608;
const FIRST_BYTES = 1_048_576;
const LEAST_BYTES = 262_144;
const MOST_BYTES = 4 * PART_BYTES;
/** How long one request should take, milliseconds: so long a break may go unnoticed, several times over. */
const REQUEST_MS = 5_000;
/** Least time for a request, milliseconds. */
const LEAST_MS = 30_000;
/** Without a `timeout` an upload of which nothing more arrives is given up after this, milliseconds. */
const STANDSTILL_MS = 120_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/**
 * Uploads a file piece by piece. After a break it goes on where the edge has it, as long as something more arrives in
 * `timeout` milliseconds.
 *
 * @throws {DialoutError} the edge's refusal, or why nothing arrives any more
 */
export async function uploadFile(
  edge: Edge,
  space: string,
  file: Blob,
  options: UploadOptions,
): Promise<UploadedFile> {
  checkFile(file);
  return new FileUpload(edge, space, file, options).run();
}

class FileUpload {
  readonly #edge: Edge;
  readonly #space: string;
  readonly #file: Blob;
  readonly #options: UploadOptions;
  readonly #patienceMs: number;
  readonly #signal: AbortSignal;
  /** Bytes a millisecond of the last request; `null` before the first. */
  #speed: number | null = null;
  #progressAt = Date.now();

  constructor(edge: Edge, space: string, file: Blob, options: UploadOptions) {
    this.#edge = edge;
    this.#space = space;
    this.#file = file;
    this.#options = options;
    this.#patienceMs = checkedDuration("timeout", options.timeout) ?? STANDSTILL_MS;
    const { signal } = options;
    this.#signal = signal === undefined ? edge.closing : AbortSignal.any([signal, edge.closing]);
  }

  async run(): Promise<UploadedFile> {
    let id = this.#options.resume ?? null;
    const since = Date.now();
    for (let failures = 0; ; ) {
      this.#notify({ state: "sending", attempt: failures + 1, since });
      try {
        const at = id === null ? await this.#create() : await this.#find(id);
        id = at.id;
        this.#report(at);
        await this.#send(at, () => {
          failures = 0;
        });
        return { upload: at.id, name: at.name, size: at.size };
      } catch (cause) {
        this.#signal.throwIfAborted();
        const error = asDialoutError(cause, "unreachable");
        const isGone = error.code === "upload_not_found" && id !== null;
        if (isGone) id = null;
        else if (!isPassing(error)) throw error;
        failures += 1;
        const retryAt = Date.now() + (isGone ? 0 : waitBefore(failures, error));
        if (retryAt - this.#progressAt >= this.#patienceMs) throw error;
        this.#notify({ state: "waiting", attempt: failures, since, error, retryAt });
        await sleep(retryAt - Date.now(), this.#signal);
      }
    }
  }

  #create(): Promise<Place> {
    const { field, name } = this.#options;
    const given = name ?? ("name" in this.#file ? String(this.#file.name) : "file");
    const metadata = { space: this.#space, filename: given, filetype: this.#file.type, field };
    const headers = {
      ...TUS,
      "upload-length": String(this.#file.size),
      "upload-metadata": encodeMetadata(metadata),
    };
    return this.#call({ method: "POST", path: "/api/uploads", headers }, place);
  }

  async #find(id: string): Promise<Place> {
    const found = await this.#call({ path: pathOf(id) }, place);
    if (found.size === this.#file.size && found.id.startsWith(`${this.#space}.`)) return found;
    throw new DialoutError("upload_not_found", "The upload to go on with is one of another file.");
  }

  async #send({ id, name, size, offset: from }: Place, onProgress: () => void): Promise<void> {
    for (let offset = from; offset < size; ) {
      const end = this.#endAfter(offset);
      const startedAt = Date.now();
      const headers = {
        ...TUS,
        "content-type": "application/offset+octet-stream",
        "upload-offset": String(offset),
      };
      const body = this.#file.slice(offset, end);
      const timeout = this.#timeFor(end - offset);
      await this.#call({ method: "PATCH", path: pathOf(id), headers, body, timeout }, nothing);
      this.#speed = (end - offset) / Math.max(1, Date.now() - startedAt);
      offset = end;
      onProgress();
      this.#report({ id, name, size, offset });
    }
  }

  /** As much as arrives in about REQUEST_MS. If it is more than a part, it ends with one. */
  #endAfter(offset: number): number {
    const wanted = this.#speed === null ? FIRST_BYTES : this.#speed * REQUEST_MS;
    const length = Math.round(Math.min(MOST_BYTES, Math.max(LEAST_BYTES, wanted)));
    const end = offset + length;
    const whole = Math.floor(end / PART_BYTES) * PART_BYTES;
    return Math.min(this.#file.size, whole > offset ? whole : end);
  }

  #timeFor(bytes: number): number {
    const slowest = (bytes / LIMITS.slowestBytesPerS) * 1_000;
    const expected = this.#speed === null ? slowest : Math.min(slowest, (bytes / this.#speed) * 10);
    return Math.max(LEAST_MS, expected);
  }

  #call<T>(
    call: Omit<Parameters<Edge["http"]["call"]>[0], "retry" | "signal">,
    schema: z.ZodType<T>,
  ): Promise<T> {
    return this.#edge.http.call({ ...call, retry: "never", signal: this.#signal }, schema);
  }

  #report({ id: upload, size, offset: sent }: Place): void {
    this.#progressAt = Date.now();
    this.#options.onProgress?.({ sent, size, upload });
  }

  #notify(sending: Parameters<NonNullable<SendOptions["onSending"]>>[0]): void {
    this.#options.onSending?.(sending);
  }
}

function pathOf(id: string): string {
  return `/api/uploads/${segment(id)}`;
}

/** Whether going on may succeed: what isn't the edge's own refusal may be something in between. */
function isPassing(error: DialoutError): boolean {
  const { code, status } = error;
  if (code === "invalid_token" || code === "malformed_answer") return false;
  // The upload is elsewhere than this program thinks, as after an answer that was lost.
  if (code === "upload_offset" || code === "upload_locked") return true;
  return !isFinal(error) && (status === null || status >= 500 || status === 429);
}

function waitBefore(failures: number, { retryAfterMs }: DialoutError): number {
  const backoff = Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), LONGEST_WAIT_MS);
  return Math.max(backoff * (0.5 + Math.random() / 2), retryAfterMs ?? 0);
}

function encodeMetadata(metadata: Record<string, string | undefined>): string {
  const pairs = Object.entries(metadata).flatMap(([name, value]) => {
    if (value === undefined || value === "") return [];
    const bytes = new TextEncoder().encode(value);
    return `${name} ${btoa(String.fromCharCode(...bytes))}`;
  });
  return pairs.join();
}

function checkFile(file: unknown): void {
  if (!(file instanceof Blob)) {
    const message = "A file must be a File or Blob: make one of bytes or text with new Blob([…]).";
    throw new DialoutError("invalid_request", message);
  }
  if (file.size <= LIMITS.resumableBytes) return;
  const message = `The file has ${file.size} bytes; ${LIMITS.resumableBytes} are allowed.`;
  throw new DialoutError("payload_too_large", message);
}
