import { ulid } from "ulid";

/** The beginning of the key of every input file in the bucket. */
export const FILES_PREFIX = "spaces/";

/** The folder of the files of one submit: `spaces/<space>/inputs/<ULID>`. The files in it are numbered from 0. */
export function newUploadFolder(space: string): string {
  return `${FILES_PREFIX}${space}/inputs/${ulid()}`;
}
