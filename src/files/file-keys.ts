import { ulid } from "ulid";

/** The beginning of the key of every input file in the bucket. */
export const FILES_PREFIX = "spaces/";

/** The folder of the files of one submit: `spaces/<space>/inputs/<ULID>`. The files in it are numbered from 0. */
export function newUploadFolder(space: string): string {
  return `${FILES_PREFIX}${space}/inputs/${ulid()}`;
}

const KEY = /^(spaces\/([a-z0-9][a-z0-9-]{0,62})\/inputs\/[0-9A-HJKMNP-TV-Z]{26})\/\d+$/;

/** The folder and the space of an input file; `null` for any other key. */
export function uploadFolderOf(key: string): { space: string; folder: string } | null {
  const [, folder, space] = KEY.exec(key) ?? [];
  return folder === undefined || space === undefined ? null : { space, folder };
}

/** The key of a folder's first file, which a job with files names first. */
export function firstKeyIn(folder: string): string {
  return `${folder}/0`;
}
