/** What the doctor looks at, in the order in which it does. */
export type Check =
  | "address"
  | "program"
  | "token"
  | "proxy"
  | "name"
  | "tcp"
  | "tls"
  | "edge"
  | "clock"
  | "space"
  | "access"
  | "websocket"
  | "link"
  | "worker";

/** `unknown`: it could not be checked, and `message` says why. */
export type Level = "ok" | "warning" | "wrong" | "unknown";

/** The outcome of one check. Neither text contains a secret. */
export interface Finding {
  check: Check;
  level: Level;
  message: string;
  /** What to do about it, if it is not in order. */
  advice?: string;
}

export const ok = (check: Check, message: string): Finding => ({ check, level: "ok", message });
export const unknown = (check: Check, message: string): Finding => ({
  check,
  level: "unknown",
  message,
});
export const warning = (check: Check, message: string, advice: string): Finding => {
  return { check, level: "warning", message, advice };
};
export const wrong = (check: Check, message: string, advice: string): Finding => {
  return { check, level: "wrong", message, advice };
};
