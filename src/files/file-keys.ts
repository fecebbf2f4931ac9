import { createHash } from "node:crypto";
import { ulid } from "ulid";

/** The beginning of the key of every file in the bucket. */
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

/** Where an output file is: the files of one job have a folder of their own. */
export interface OutputPlace {
  folder: string;
  id: string;
}

/**
 * The folder of a job's output files. It doesn't tell which job that is: whoever is given a file's address must not
 * learn the job's id from it, which may be all that it takes to see the job (decision 0005).
 */
export function outputFolder(space: string, jobUlid: string): string {
  return createHash("sha256").update(`outputs\n${space}\n${jobUlid}`).digest("hex").slice(0, 32);
}

/** The key of an output file. */
export function outputKey(space: string, { folder, id }: OutputPlace): string {
  return `${FILES_PREFIX}${space}/outputs/${folder}/${id}`;
}

const OUTPUT_KEY =
  /^spaces\/([a-z0-9][a-z0-9-]{0,62})\/outputs\/([0-9a-f]{32})\/([0-9A-HJKMNP-TV-Z]{26})$/;

/** The space of an output file and where in it the file is; `null` for any other key. */
export function outputPlaceOf(key: string): { space: string; place: OutputPlace } | null {
  const [, space, folder, id] = OUTPUT_KEY.exec(key) ?? [];
  if (space === undefined || folder === undefined || id === undefined) return null;
  return { space, place: { folder, id } };
}
