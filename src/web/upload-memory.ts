/** The part of `localStorage` used here: an upload goes on after the tab or the browser was closed. */
export type UploadStorage = Pick<Storage, "getItem" | "setItem">;

/** How long the edge keeps an upload that no job uses, milliseconds. */
const KEPT_MS = 86_400_000;
/** Most uploads remembered per space; the oldest are dropped first. */
const MAX_REMEMBERED = 50;

interface RememberedUpload {
  /** What the file was, for all that a page can know of it. */
  file: string;
  upload: string;
  /** When more of it was last stored, milliseconds since 1970. */
  at: number;
}

/** Remembers which uploads of a space were begun, by their files, so that choosing the same file again goes on with it. */
export class UploadMemory {
  private readonly storage: UploadStorage;
  private readonly key: string;

  constructor(storage: UploadStorage, space: string) {
    this.storage = storage;
    this.key = `dialout.uploads.${space}`;
  }

  /** The upload of this file; `null` if none is known. */
  recall(file: File): string | null {
    return this.read().find((known) => known.file === describe(file))?.upload ?? null;
  }

  remember(file: File, upload: string): void {
    this.write([{ file: describe(file), upload, at: Date.now() }, ...this.without(file)]);
  }

  forget(file: File): void {
    this.write(this.without(file));
  }

  private without(file: File): RememberedUpload[] {
    return this.read().filter((known) => known.file !== describe(file));
  }

  private read(): RememberedUpload[] {
    try {
      const stored: unknown = JSON.parse(this.storage.getItem(this.key) ?? "[]");
      const known = Array.isArray(stored) ? stored.filter(isRemembered) : [];
      return known.filter(({ at }) => at > Date.now() - KEPT_MS);
    } catch {
      return []; // Storage may be disabled, or contain data from another program.
    }
  }

  private write(uploads: RememberedUpload[]): void {
    try {
      this.storage.setItem(this.key, JSON.stringify(uploads.slice(0, MAX_REMEMBERED)));
    } catch {
      // Storage is full or disabled: the page still works, but after a reload it begins anew.
    }
  }
}

function describe({ name, size, type, lastModified }: File): string {
  return JSON.stringify([name, size, type, lastModified]);
}

function isRemembered(value: unknown): value is RememberedUpload {
  if (typeof value !== "object" || value === null) return false;
  const { file, upload, at } = value as Partial<RememberedUpload>;
  return typeof file === "string" && typeof upload === "string" && typeof at === "number";
}
