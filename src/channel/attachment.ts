import { LIMITS } from "../protocol/limits.ts";

/** Whether a socket can keep this through hibernation: text beyond Latin-1 takes two bytes a character. */
export function fitsAttachment(value: object): boolean {
  const text = JSON.stringify(value);
  const isWide = [...text].some((character) => character > "\u00ff");
  return text.length * (isWide ? 2 : 1) <= LIMITS.attachmentBytes;
}
