import {
  FILES_PREFIX,
  type OutputPlace,
  outputKey,
  outputPlaceOf,
  uploadFolderOf,
} from "../files/file-keys.ts";

/** The one object that sweeps. */
export const FILE_SWEEP_NAME = "files";

/** How many objects of the bucket one step looks at: R2 deletes 1,000 in one call, and each may be of another space. */
const PAGE = 500;
/** Younger objects are left alone: their job may not be stored yet. A submit takes minutes at most, milliseconds. */
const MIN_AGE_MS = 3_600_000;
/** Time between two steps, so that a sweep of many files doesn't slow down anything else, milliseconds. */
const STEP_MS = 1_000;
/** Time between two sweeps, milliseconds. */
export const SWEEP_EVERY_MS = 86_400_000;

/** The key up to which a sweep that is under way has come; `null`: none is. */
export interface SweepCursor {
  read(): string | null;
  write(key: string | null): void;
}

/** What a sweep needs of the bucket. */
export interface SweptBucket {
  list(options: { prefix: string; limit: number; startAfter: string | undefined }): Promise<{
    objects: { key: string; uploaded: Date }[];
    truncated: boolean;
  }>;
  delete(keys: string[]): Promise<void>;
}

interface FileSweepDeps {
  bucket: SweptBucket;
  cursor: SweepCursor;
  /** Which of these folders no job of the space has. */
  unknownFolders: (space: string, folders: string[]) => Promise<string[]>;
  /** Which of these output files no job of the space has. */
  unknownOutputs: (space: string, places: OutputPlace[]) => Promise<OutputPlace[]>;
}

/**
 * Removes files that no job has: of a submit that was cut off between the files and the job, of a worker's upload that
 * was cut off before the space knew of it, or of a space whose deletion was (decision 0045). A sweep goes through the bucket in small steps, and asks each space about its files.
 */
export class FileSweep {
  private readonly deps: FileSweepDeps;

  constructor(deps: FileSweepDeps) {
    this.deps = deps;
  }

  /** Does one step; returns when the next one is due, milliseconds since 1970. */
  async step(now: number): Promise<number> {
    const { bucket, cursor } = this.deps;
    const startAfter = cursor.read() ?? undefined;
    const listed = await bucket.list({ prefix: FILES_PREFIX, limit: PAGE, startAfter });
    const old = listed.objects.filter(({ uploaded }) => uploaded.getTime() <= now - MIN_AGE_MS);
    const keys = old.map(({ key }) => key);
    const orphans = [...(await this.orphansAmong(keys)), ...(await this.lostOutputsAmong(keys))];
    if (orphans.length > 0) {
      await bucket.delete(orphans);
      console.warn(`${orphans.length} files that no job has were removed`);
    }
    const last = listed.truncated ? (listed.objects.at(-1)?.key ?? null) : null;
    cursor.write(last);
    return now + (last === null ? SWEEP_EVERY_MS : STEP_MS);
  }

  private async orphansAmong(keys: readonly string[]): Promise<string[]> {
    const bySpace = new Map<string, Map<string, string[]>>();
    for (const key of keys) {
      const found = uploadFolderOf(key);
      // What else may be in the bucket isn't ours to remove.
      if (found === null) continue;
      const folders = bySpace.get(found.space) ?? new Map<string, string[]>();
      bySpace.set(found.space, folders);
      folders.set(found.folder, [...(folders.get(found.folder) ?? []), key]);
    }
    const orphans: string[] = [];
    for (const [space, folders] of bySpace) {
      const unknown = await this.ask(space, () =>
        this.deps.unknownFolders(space, [...folders.keys()]),
      );
      for (const folder of unknown) orphans.push(...(folders.get(folder) ?? []));
    }
    return orphans;
  }

  private async lostOutputsAmong(keys: readonly string[]): Promise<string[]> {
    const found = keys.flatMap((key) => outputPlaceOf(key) ?? []);
    const lost: string[] = [];
    for (const [space, outputs] of Map.groupBy(found, (output) => output.space)) {
      const places = outputs.map(({ place }) => place);
      const unknown = await this.ask(space, () => this.deps.unknownOutputs(space, places));
      lost.push(...unknown.map((place) => outputKey(space, place)));
    }
    return lost;
  }

  /** A space that can't be asked keeps its files: the next sweep asks again. */
  private async ask<T>(space: string, unknown: () => Promise<T[]>): Promise<T[]> {
    try {
      return await unknown();
    } catch (error) {
      console.error(`the space ${space} could not be asked about its files`, error);
      return [];
    }
  }
}
