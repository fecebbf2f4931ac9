import { CLOSE, shouldReconnect } from "../src/protocol/codes.ts";

/** How a connection, or the attempt to make one, ended. */
export type LinkClose =
  /** The upgrade was answered with a status other than 101; by the edge itself, if the answer is a problem. */
  | { type: "refused"; status: number; isProblem: boolean; detail: string | null }
  /** No answer: nothing listens, no such host, no route, a timeout. */
  | { type: "unreachable"; message: string }
  /** `error`: the message of an `error` frame that came directly before the close. */
  | { type: "closed"; code: number; reason: string; error: string | null };

export const REFUSAL_CODES = [
  "not_authenticated",
  "not_allowed",
  "not_found",
  "space_occupied",
  "replaced",
  "frame_too_large",
  "malformed_frame",
  "policy",
  "closed",
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

/** Thrown by `run` when the edge refuses this worker for good: dialing again would not help. */
export class WorkerRefused extends Error {
  override readonly name = "WorkerRefused";
  readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string) {
    super(message);
    this.code = code;
  }
}

export type CloseVerdict =
  | { type: "retry"; why: string }
  | { type: "refused"; refusal: WorkerRefused };

/** Used only if the edge sent no message: its own message is more precise. */
const REFUSAL_MESSAGES: Record<RefusalCode, string> = {
  not_authenticated: "the token is wrong or revoked",
  not_allowed: "the token may not serve this space",
  not_found: "no such space",
  space_occupied: "another worker serves this space",
  replaced: "another connection of this worker has taken its place",
  frame_too_large: "the edge refused a frame as too large",
  malformed_frame: "the edge did not understand a frame",
  policy: "the edge refused this worker",
  closed: "the edge ended the connection for good",
};

const BY_STATUS: Record<number, RefusalCode> = {
  401: "not_authenticated",
  403: "not_allowed",
  404: "not_found",
  409: "space_occupied",
  426: "policy",
};

const BY_CLOSE_CODE: Record<number, RefusalCode> = {
  [CLOSE.policy.code]: "policy",
  [CLOSE.frameTooLarge.code]: "frame_too_large",
  [CLOSE.malformed.code]: "malformed_frame",
  [CLOSE.notAuthenticated.code]: "not_authenticated",
  [CLOSE.notAllowed.code]: "not_allowed",
  [CLOSE.notFound.code]: "not_found",
  [CLOSE.occupied.code]: "space_occupied",
};

/** Decides whether to dial again after a connection ended, with the reason. */
export function judgeClose(close: LinkClose): CloseVerdict {
  switch (close.type) {
    case "unreachable":
      return { type: "retry", why: close.message };
    case "refused": {
      const code = BY_STATUS[close.status];
      if (code !== undefined && close.isProblem) {
        return refused(code, close.detail ?? REFUSAL_MESSAGES[code]);
      }
      // A proxy answers so too, for example while the edge behind it restarts (W4a).
      const who = close.isProblem ? "the edge" : "something before the edge";
      return {
        type: "retry",
        why: withDetail(`${who} answered with status ${close.status}`, close.detail),
      };
    }
    case "closed": {
      const reason = close.reason || null;
      if (shouldReconnect(close.code)) {
        const why = `connection closed (${close.code})`;
        return { type: "retry", why: withDetail(why, close.error ?? reason) };
      }
      const code = BY_CLOSE_CODE[close.code] ?? "closed";
      return refused(code, close.error ?? withDetail(REFUSAL_MESSAGES[code], reason));
    }
  }
}

function refused(code: RefusalCode, message: string): CloseVerdict {
  return { type: "refused", refusal: new WorkerRefused(code, message) };
}

function withDetail(words: string, detail: string | null): string {
  return detail === null ? words : `${words}: ${detail}`;
}
