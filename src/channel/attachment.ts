import { keptBytes } from "../protocol/kept-bytes.ts";
import { LIMITS } from "../protocol/limits.ts";

/** Whether a socket can keep this through hibernation. */
export function fitsAttachment(value: object): boolean {
  return keptBytes(value) <= LIMITS.attachmentBytes;
}
