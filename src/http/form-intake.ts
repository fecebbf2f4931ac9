import { newUploadFolder } from "../files/file-keys.ts";
import { FileWriter } from "../files/file-writer.ts";
import { PART_BYTES } from "../files/part-buffer.ts";
import { displayName, shortenName } from "../protocol/file-name.ts";
import { LIMITS } from "../protocol/limits.ts";
import { jobOptions } from "../protocol/resources.ts";
import { UPLOAD_PART } from "../protocol/values.ts";
import type { GivenFile } from "../space/calls.ts";
import { ArrivingBody, readBytes } from "./body.ts";
import { codingOf } from "./content-coding.ts";
import type { AppContext } from "./context.ts";
import { beginSweeps } from "./file-sweeps.ts";
import { fileTypeOf } from "./file-type.ts";
import { type ArrivingPart, type FormPart, type PartHeaders, readParts } from "./form.ts";
import { isJsonType } from "./header-parameters.ts";
import { ProblemError } from "./problems.ts";

/** How a form is taken. */
export interface IntakeOptions {
  /** Refuses a file in this field by throwing, before any of it is stored. */
  admit?: (field: string) => void;
  /** The name that a job has for a field of the form. */
  fieldOf?: (field: string) => string;
  /** Files and fields without content are left out; otherwise only files without a name as well. */
  dropsEmpty?: boolean;
}

/** A form that has arrived; its files are in the bucket. */
export interface ReceivedForm {
  /** The parts with the whole input as JSON. */
  inputs: FormPart[];
  texts: FormPart[];
  files: GivenFile[];
  /** Removes its files from the bucket. Call it if no job has them. */
  discard(): Promise<void>;
}

/**
 * Receives a form whose files go into the bucket while they arrive (decision 0064). If it is refused, nothing of it
 * stays there.
 */
export async function receiveForm(
  c: AppContext,
  space: string,
  options: IntakeOptions = {},
): Promise<ReceivedForm> {
  const type = c.req.header("content-type") ?? "";
  const isCompressed = codingOf(c.req.header("content-encoding")) !== null;
  const body = isCompressed ? null : new ArrivingBody(c, LIMITS.uploadBytes);
  const intake = new FormIntake(c, space, options);
  try {
    for await (const part of readParts(body?.pieces() ?? decompressed(c), type)) {
      await intake.onPart(part);
    }
    return await intake.end();
  } catch (error) {
    await Promise.all([body?.drain(), intake.discard()]);
    throw error;
  }
}

/** It is in memory as a whole: a few bytes of a stream can stand for gigabytes, all of which come at once. */
async function* decompressed(c: AppContext): AsyncGenerator<Uint8Array> {
  yield await readBytes(c, LIMITS.compressedFormBytes);
}

/** Bytes of small files that may be on their way to the bucket while the form is read on. */
const UNDER_WAY_BYTES = 2 * PART_BYTES;

class FormIntake {
  private readonly c: AppContext;
  private readonly folder: string;
  private readonly options: IntakeOptions;
  private readonly inputs: FormPart[] = [];
  /** JSON files named `input`: they are the input, unless that comes as text. */
  private readonly inputFiles: FormPart[] = [];
  private readonly texts: FormPart[] = [];
  /** In the order of the form; `null` while one is on its way to the bucket. */
  private readonly files: (GivenFile | null)[] = [];
  private readonly keys: string[] = [];
  private writer: FileWriter | null = null;
  private readonly underWay = new Set<Promise<void>>();
  private underWayBytes = 0;
  private textBytes = 0;

  constructor(c: AppContext, space: string, options: IntakeOptions) {
    this.c = c;
    this.folder = newUploadFolder(space);
    this.options = options;
  }

  async onPart({ content, ...sent }: ArrivingPart): Promise<void> {
    const { fieldOf, dropsEmpty } = this.options;
    const headers = { ...sent, field: fieldOf?.(sent.field) ?? sent.field };
    const { field, fileName, type } = headers;
    if (fileName !== null && !(field === "input" && isJsonType(type ?? ""))) {
      return this.onFile(headers, content);
    }
    if (fileName !== null && this.inputs.length > 0) return this.onFile(headers, content);
    const part = { ...headers, bytes: await this.collect(content) };
    if (dropsEmpty && part.bytes.byteLength === 0) return;
    if (fileName !== null) this.inputFiles.push(part);
    else if (field === "input") this.inputs.push(part);
    else this.onText(part);
  }

  /** Returns the form, once all of its files are stored. */
  async end(): Promise<ReceivedForm> {
    const hasText = this.inputs.length > 0;
    for (const { bytes, ...headers } of hasText ? this.inputFiles : []) {
      await this.onFile(headers, once(bytes));
    }
    await Promise.all(this.underWay);
    return {
      inputs: hasText ? this.inputs : this.inputFiles,
      texts: this.texts,
      files: this.files.flatMap((file) => file ?? []),
      discard: () => this.discard(),
    };
  }

  async discard(): Promise<void> {
    await Promise.allSettled([this.writer?.abort(), ...this.underWay]);
    if (this.keys.length === 0) return;
    try {
      await this.c.env.FILES.delete(this.keys);
    } catch (error) {
      // The next sweep removes them (decision 0045).
      console.error("files without a job could not be removed", error);
    }
  }

  private onText(part: FormPart): void {
    const upload = Object.hasOwn(jobOptions, part.field) ? null : uploadOf(part.bytes);
    if (upload === null) {
      this.texts.push(part);
      return;
    }
    this.admit(part.field);
    this.files.push({ field: part.field, upload });
  }

  private async onFile(headers: PartHeaders, content: AsyncGenerator<Uint8Array>): Promise<void> {
    const { field, fileName, type } = headers;
    const first = await content.next();
    const isEmpty = first.done === true;
    // Browsers send a file without name and content if nobody chose one.
    if (isEmpty && (fileName === "" || this.options.dropsEmpty)) return;
    this.admit(field);
    await beginSweeps(this.c.env);
    const key = `${this.folder}/${this.keys.length}`;
    this.keys.push(key);
    const place = this.files.push(null) - 1;
    const writer = new FileWriter(this.c.env.FILES, key);
    this.writer = writer;
    if (!isEmpty) await writer.write(first.value);
    for await (const piece of content) await writer.write(piece);
    const name = displayName(fileName ?? "");
    const described = { field, name, content_type: fileTypeOf(type), key };
    await this.finish(writer, (written) => {
      this.files[place] = { ...described, ...written };
    });
  }

  /** Ends a file. Small ones go to the bucket side by side, while the form is read on. */
  private async finish(
    writer: FileWriter,
    onWritten: (written: Awaited<ReturnType<FileWriter["end"]>>) => void,
  ): Promise<void> {
    const { size } = writer;
    const ending = writer.end().then(onWritten);
    // A failure is thrown where it is waited for.
    ending.catch(() => undefined);
    this.underWay.add(ending);
    this.underWayBytes += Math.min(size, PART_BYTES);
    if (size <= PART_BYTES && this.underWayBytes <= UNDER_WAY_BYTES) return;
    await Promise.all(this.underWay);
    this.underWay.clear();
    this.underWayBytes = 0;
  }

  private admit(field: string): void {
    if (this.files.length >= LIMITS.filesPerJob) {
      throw invalid(`A job may have ${LIMITS.filesPerJob} files at most.`);
    }
    if (field.length > LIMITS.fieldLength) {
      throw invalid(
        `The field \`${shortenName(field, 60)}…\`: a file's field may have ${LIMITS.fieldLength} characters at most.`,
      );
    }
    this.options.admit?.(field);
  }

  /** Texts are counted before they are decoded and put together, which takes several times as much memory. */
  private async collect(content: AsyncGenerator<Uint8Array>): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of content) {
      this.textBytes += piece.byteLength;
      if (this.textBytes > LIMITS.jsonBodyBytes) throw TOO_MUCH_TEXT;
      pieces.push(piece);
    }
    const [only = new Uint8Array(), ...more] = pieces;
    return more.length === 0 ? only : Buffer.concat(pieces);
  }
}

const TOO_MUCH_TEXT = new ProblemError(
  "payload_too_large",
  `The text parts of the form have more than ${LIMITS.jsonBodyBytes} bytes together. Send large data as a file.`,
);

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.byteLength > 0) yield bytes;
}

/** The id of the upload for which a text part stands; `null` if it is any other text. */
function uploadOf(bytes: Uint8Array): string | null {
  if (bytes.byteLength > UPLOAD_LENGTH) return null;
  return UPLOAD_PART.exec(new TextDecoder().decode(bytes))?.[1] ?? null;
}

const UPLOAD_LENGTH = 120;

function invalid(detail: string): ProblemError {
  return new ProblemError("invalid_request", detail);
}
