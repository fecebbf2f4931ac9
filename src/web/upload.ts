import { DialoutError } from "../client/errors.ts";
import { sleep } from "../client/time-limit.ts";

/** An upload that makes no progress for this long is given up, milliseconds. */
export const STALL_MS = 30_000;

/**
 * A `fetch` for uploads. It has no limit for the whole, because a slow line may need many minutes; it fails if
 * nothing was sent or received for a while. `fetch` itself can't report how much was sent.
 *
 * @param onSent called with how many bytes of the body were sent so far
 */
export function fetchWithProgress(
  address: string,
  init: RequestInit,
  onSent?: (bytes: number) => void,
): Promise<Response> {
  const request = new XMLHttpRequest();
  const stalled = new AbortController();
  let lastProgressAt = Date.now();
  const onProgress = () => {
    lastProgressAt = Date.now();
  };
  request.open(init.method ?? "GET", address);
  for (const [name, value] of new Headers(init.headers)) request.setRequestHeader(name, value);
  request.upload.onprogress = ({ loaded }) => {
    onProgress();
    onSent?.(loaded);
  };
  request.onprogress = onProgress;
  init.signal?.addEventListener("abort", () => request.abort(), { once: true });
  const failIfStalled = async () => {
    for (let rest = STALL_MS; rest > 0; rest = lastProgressAt + STALL_MS - Date.now()) {
      await sleep(rest, stalled.signal);
    }
    const message = `Nothing was sent or received for ${STALL_MS / 1_000} s.`;
    throw new DialoutError("timed_out", message);
  };
  const answer = new Promise<Response>((resolve, reject) => {
    request.onload = () => resolve(responseOf(request));
    request.onerror = () => reject(new TypeError("The upload failed."));
    request.onabort = () => reject(init.signal?.reason ?? new TypeError("The upload was stopped."));
  });
  request.send(isSendable(init.body) ? init.body : null);
  return Promise.race([answer, failIfStalled()]).finally(() => {
    stalled.abort();
    request.abort();
  });
}

function isSendable(body: unknown): body is FormData | Blob | string {
  return body instanceof FormData || body instanceof Blob || typeof body === "string";
}

function responseOf(request: XMLHttpRequest): Response {
  const headers = new Headers();
  for (const line of request
    .getAllResponseHeaders()
    .trim()
    .split(/[\r\n]+/)) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  // A `Response` of 204 must have no text, not even an empty one.
  return new Response(request.responseText || null, { status: request.status, headers });
}
