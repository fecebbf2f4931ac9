import { attachmentSize } from "../protocol/attachment-size.ts";
import { LIMITS } from "../protocol/limits.ts";

/** Whether a socket can keep this through hibernation. */
export function fitsAttachment(value: object): boolean {
  return attachmentSize(value) <= LIMITS.attachmentBytes;
}
