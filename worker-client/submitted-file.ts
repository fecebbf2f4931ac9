/** A file that was submitted with a job. It is fetched only when `download` or `save` is called. */
export interface JobFile {
  /** The form field in which the submitter sent it. */
  readonly field: string;
  /** The name that the submitter gave it; untrusted, so never use it as a path. */
  readonly name: string;
  readonly contentType: string;
  /** Bytes. */
  readonly size: number;
  /** Returns the whole file in memory. Goes on after breaks as long as the attempt is wanted. */
  download(): Promise<Buffer<ArrayBuffer>>;
  /** Writes the file to a new file at `path`; never overwrites an existing file, and leaves no part of one. */
  save(path: string): Promise<void>;
}
