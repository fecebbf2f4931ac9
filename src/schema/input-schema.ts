import type { Json, JsonObject } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import { type Check, CheckRun, escapeName, type InputError, TooMuchWork } from "./check-run.ts";
import { numberIn } from "./check-text.ts";
import { Compiler } from "./compile.ts";
import { type FileField, fieldsOf, fileFieldOf } from "./fields.ts";
import { typedInput } from "./form-values.ts";

interface KnownFile extends FileField {
  isRequired: boolean;
  least: number;
  /** `null`: as many as a job may have. */
  most: number | null;
}

/** A file of a submit. */
export interface GivenFile {
  field: string;
  content_type: string;
}

/** The schema of a space's input, made ready once for all its submits. */
export class InputSchema {
  private readonly root: JsonObject;
  private readonly check: Check;
  private readonly files: ReadonlyMap<string, KnownFile>;

  /** @param root a schema that was taken (`readDeclared`) */
  constructor(root: JsonObject) {
    this.root = root;
    const fields = fieldsOf(root, root);
    this.files = new Map(
      fields.flatMap(({ name, schema, isRequired }) => {
        const file = fileFieldOf(schema, root);
        if (file === null) return [];
        const least = file.isList ? (numberIn(schema, "minItems") ?? 0) : 1;
        const most = file.isList ? numberIn(schema, "maxItems") : 1;
        return [[name, { ...file, isRequired, least, most }]];
      }),
    );
    this.check = new Compiler(root).compile(this.withoutFiles());
  }

  /** See `typedInput`. */
  typed(input: JsonObject, texts: readonly string[]): JsonObject {
    return texts.length === 0 ? input : typedInput(input, texts, this.root);
  }

  /**
   * What is wrong with a submit: nothing if the list is empty.
   *
   * @param bytes the size of the input: so much work is spent on it as that may take
   */
  errorsOf(input: JsonObject, files: readonly GivenFile[], bytes: number): InputError[] {
    const run = new CheckRun("input", LEAST_WORK + bytes * WORK_A_BYTE);
    try {
      this.check(input, run);
    } catch (error) {
      if (!(error instanceof TooMuchWork)) throw error;
      return [{ path: "/input", message: TOO_MUCH_WORK }];
    }
    return [...run.errors, ...this.errorsOfFiles(input, files)].slice(0, LIMITS.inputErrors);
  }

  private *errorsOfFiles(input: JsonObject, given: readonly GivenFile[]): Generator<InputError> {
    for (const [name, file] of this.files) {
      const path = `/files/${escapeName(name)}`;
      const own = given.filter(({ field }) => field === name);
      if (Object.hasOwn(input, name) && own.length === 0) {
        yield { path: `/input/${escapeName(name)}`, message: "must be sent as a file of a form" };
      } else if (own.length === 0) {
        if (file.isRequired) yield { path, message: "is missing" };
      } else if (own.length < file.least) {
        yield { path, message: `must be ${file.least} files or more` };
      }
      if (file.most !== null && own.length > file.most) {
        yield {
          path,
          message: file.most === 1 ? "must be one file" : `must be ${file.most} files at most`,
        };
      }
      if (!own.every(({ content_type }) => fitsType(content_type, file))) {
        yield { path, message: `must be ${describe(file)}` };
      }
    }
    const unknown = new Set(
      given.map(({ field }) => field).filter((name) => !this.files.has(name)),
    );
    for (const name of unknown) {
      yield { path: `/files/${escapeName(name)}`, message: "is no field for files: leave it out" };
    }
  }

  /** Files don't stand in the input. */
  private withoutFiles(): Json {
    const { required, properties, ...others } = this.root;
    const kept = Array.isArray(required)
      ? required.filter((name) => !this.files.has(String(name)))
      : required;
    const named = Object.entries((properties ?? {}) as JsonObject).map(
      ([name, schema]): [string, Json] => [name, this.files.has(name) ? true : schema],
    );
    const schema: JsonObject = { ...others, properties: Object.fromEntries(named) };
    return kept === undefined ? schema : { ...schema, required: kept };
  }
}

/** Steps of a check: a small input may take some, and a large one more, but never hours. */
const LEAST_WORK = 20_000;
const WORK_A_BYTE = 8;

const TOO_MUCH_WORK =
  "takes too long to check against the schema of this space: send less, or ask for a simpler schema";

/** Nothing is known of such a file. */
const UNKNOWN = "application/octet-stream";

/** Types that a sound has whose container may hold pictures, too. */
const SOUNDS = /^(?:audio\/|video\/(?:webm|ogg|mp4)|application\/ogg)/;

function fitsType(sent: string, { format, mediaType }: FileField): boolean {
  const type = sent.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (type === UNKNOWN) return true;
  if (mediaType !== null) {
    const [wanted = "", part = "*"] = mediaType.toLowerCase().split("/");
    return part === "*"
      ? wanted === "*" || type.startsWith(`${wanted}/`)
      : type === `${wanted}/${part}`;
  }
  if (format === "audio") return SOUNDS.test(type);
  return format === "file" || type.startsWith(`${format}/`);
}

function describe({ format, mediaType }: FileField): string {
  if (mediaType !== null) return `a file of the type ${mediaType.slice(0, 100)}`;
  return { file: "a file", image: "an image", audio: "an audio file", video: "a video" }[format];
}

/** What to say of a submit as a whole: its first errors. */
export function describeErrors(errors: readonly InputError[]): string {
  return errors
    .slice(0, 3)
    .map(({ path, message }) => `${path}: ${message}`)
    .join("; ");
}
