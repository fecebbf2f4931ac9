import { attachmentSize } from "../protocol/attachment-size.ts";
import { LIMITS } from "../protocol/limits.ts";

/** Whether this fits into a socket's attachment, which outlives the object's memory. */
export function fitsAttachment(value: object): boolean {
  return attachmentSize(value) <= LIMITS.attachmentBytes;
}
