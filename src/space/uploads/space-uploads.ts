import type { Caller } from "../../auth/caller.ts";
import { newSecret } from "../../auth/secrets.ts";
import { newResumableFolder, wholeFileIn } from "../../files/file-keys.ts";
import { countedAs } from "../../objects/allowances.ts";
import type { Refusal } from "../../objects/reply.ts";
import { LIMITS } from "../../protocol/limits.ts";
import { admitInput } from "../../queue/admission.ts";
import type { StoredFile } from "../../queue/job.ts";
import type { Upload, UploadStore } from "../../storage/upload-store.ts";
import type { GivenFile } from "../calls.ts";
import type { SpaceCore } from "../space-core.ts";
import { removeUploadFiles } from "./remove-upload-files.ts";
import {
  NO_SUCH_UPLOAD,
  UPLOAD_LOCKED,
  type UploadCommand,
  type UploadReply,
  type UploadSpec,
} from "./upload-calls.ts";

/** A writer to which nothing comes for this long gives way to another request, milliseconds: its connection is dead. */
const SILENT_MS = 4_000;
/** So many uploads are removed in one sweep; the alarm goes off again for the rest. */
const SWEEP_PAGE = 50;
/** Milliseconds until the next sweep after the bucket refused a removal. */
const SWEEP_AGAIN_MS = 60_000;

/** The uploads of a space, and which job has each (decision 0064). */
export class SpaceUploads {
  private readonly core: SpaceCore;
  private readonly store: UploadStore;
  /**
   * When something last came for those that are being written, milliseconds since 1970. In memory only: after a restart
   * of the object whoever comes first may go on.
   */
  private readonly writers = new Map<string, number>();
  private noSweepBefore = 0;

  constructor(core: SpaceCore) {
    this.core = core;
    this.store = core.uploads;
  }

  /** Makes an upload for whoever may submit to the space. */
  create(caller: Caller, spec: UploadSpec, now: number): UploadReply {
    const { record } = this.core;
    // A schema says which files there are instead of the switches; a submit is checked by it.
    const fields = spec.field === null || this.core.schema.input !== null ? [] : [spec.field];
    const admission = admitInput(record.settings, {}, fields);
    if (!admission.ok) {
      return { ok: false, code: admission.code, detail: admission.message };
    }
    const owner = countedAs(caller);
    const excess = this.excessOf(owner, spec.length);
    if (excess !== null) return excess;
    const upload: Upload = {
      secret: newSecret("", 18),
      folder: newResumableFolder(record.name),
      owner,
      user: caller.userId,
      name: spec.name,
      contentType: spec.contentType,
      length: spec.length,
      received: 0,
      tail: 0,
      multipart: null,
      fence: 0,
      sha256: null,
      ulid: null,
      expiresAt: now + LIMITS.uploadKeptMs,
    };
    this.store.add(upload);
    return { ok: true, upload, parts: [] };
  }

  run(secret: string, command: UploadCommand, now: number): UploadReply {
    const upload = this.store.get(secret);
    if (upload === null) return NO_SUCH_UPLOAD;
    if (command.type === "look") return { ok: true, upload, parts: [] };
    if (command.type === "begin") return this.begin(upload, command.offset, now);
    const { fence } = command;
    if (fence !== upload.fence || upload.sha256 !== null) return UPLOAD_LOCKED;
    switch (command.type) {
      case "renew":
        if (command.hasReceived) this.writers.set(secret, now);
        return { ok: true, upload, parts: [] };
      case "parts":
        return { ok: true, upload, parts: this.store.parts(secret) };
      case "end":
        this.writers.delete(secret);
        return { ok: true, upload, parts: [] };
      case "store": {
        const { received, tail, multipart, part } = command;
        if (part !== undefined) this.store.addPart(secret, part);
        return this.change({ ...upload, received, tail, multipart }, now);
      }
      case "finish": {
        const { length: received } = upload;
        const whole = { ...upload, received, tail: 0, sha256: command.sha256 };
        const reply = this.change(whole, now);
        this.writers.delete(secret);
        return reply;
      }
    }
  }

  /** The files of a submit, with what is known of those that were uploaded before; some may be another job's. */
  filesOf(
    given: readonly GivenFile[],
    caller: Caller,
  ): { ok: true; files: StoredFile[]; uploads: Upload[] } | Refusal {
    const files: StoredFile[] = [];
    const uploads: Upload[] = [];
    for (const file of given) {
      if (!("upload" in file)) {
        files.push(file);
        continue;
      }
      const found = this.find(file.upload, caller);
      if (!("secret" in found)) return found;
      if (uploads.some(({ secret }) => secret === found.secret)) {
        return used("It is named twice: each file of a job is an upload of its own.");
      }
      uploads.push(found);
      files.push(storedFileOf(found, file.field));
    }
    // The folder of files that came with the submit is known by its first file, which must be the job's first.
    const order = uploads.length === 0 ? files : files.toSorted(byFolderKind(uploads));
    return { ok: true, files: order, uploads };
  }

  /** Why these uploads can't be another job's files; `null` if they can. */
  refusalOf(uploads: readonly Upload[]): Refusal | null {
    return uploads.some(({ ulid }) => ulid !== null) ? used("Another job has it.") : null;
  }

  /** Makes uploads the files of a job. Call this in the batch that stores the job. */
  use(uploads: readonly Upload[], ulid: string): void {
    for (const { secret } of uploads) {
      this.store.use(secret, ulid);
      this.writers.delete(secret);
    }
  }

  /**
   * Removes an upload that no job has.
   *
   * @param runBatch runs its argument in a batch of its own, and stores that
   * @throws if its files can't be removed now: the upload is still there then
   */
  async remove(
    bucket: R2Bucket,
    secret: string,
    runBatch: (step: () => void) => void,
  ): Promise<Refusal | null> {
    const upload = this.store.get(secret);
    if (upload === null) return NO_SUCH_UPLOAD;
    if (upload.ulid !== null) return used("It is a job's file, and is erased with that job.");
    // Whoever still writes it must stop, and no job may take it meanwhile.
    runBatch(() => this.store.update({ ...upload, fence: upload.fence + 1, sha256: null }));
    await removeUploadFiles(bucket, upload);
    runBatch(() => this.store.remove(secret));
    this.writers.delete(secret);
    return null;
  }

  /** When the next upload is to be removed, milliseconds since 1970; `null` if none is. */
  dueAt(): number | null {
    const due = this.store.dueAt();
    return due === null ? null : Math.max(due, this.noSweepBefore);
  }

  /** Removes uploads that no job has used in time. Their files go first (decision 0017). */
  async sweep(bucket: R2Bucket, now: number, runBatch: (step: () => void) => void): Promise<void> {
    if (now < this.noSweepBefore) return;
    for (const { secret } of this.store.dueBy(now, SWEEP_PAGE)) {
      try {
        await this.remove(bucket, secret, runBatch);
      } catch (error) {
        console.error("an upload that nobody used could not be removed", error);
        this.noSweepBefore = now + SWEEP_AGAIN_MS;
        return;
      }
    }
  }

  private begin(upload: Upload, offset: number, now: number): UploadReply {
    const { secret, sha256 } = upload;
    const receivedAt = this.writers.get(secret);
    const isLocked = receivedAt !== undefined && now - receivedAt < SILENT_MS;
    if (isLocked && sha256 === null) return UPLOAD_LOCKED;
    if (offset !== upload.received) return elsewhere(upload);
    if (sha256 !== null) return { ok: true, upload, parts: [] };
    const begun = { ...upload, fence: upload.fence + 1 };
    this.store.update(begun);
    this.writers.set(secret, now);
    return { ok: true, upload: begun, parts: [] };
  }

  private change(upload: Upload, now: number): UploadReply {
    const changed = { ...upload, expiresAt: now + LIMITS.uploadKeptMs };
    this.store.update(changed);
    this.writers.set(changed.secret, now);
    return { ok: true, upload: changed, parts: [] };
  }

  private find(id: string, caller: Caller): Upload | Refusal {
    const [space = "", secret = ""] = id.split(".");
    const upload = space === this.core.record.name ? this.store.get(secret) : null;
    // Nobody learns whether there is an upload that isn't theirs.
    if (upload === null || (upload.user !== null && upload.user !== caller.userId)) {
      return NO_SUCH_UPLOAD;
    }
    if (upload.sha256 !== null) return upload;
    const detail = `${upload.received} of ${upload.length} bytes of the upload ${id} have come: send the others first.`;
    return { ok: false, code: "upload_incomplete", detail };
  }

  private excessOf(owner: string, length: number): Refusal | null {
    const { uploadsPerOwner, uploadBytesPerOwner } = LIMITS;
    const { count, bytes } = this.store.openOf(owner);
    const advice =
      "Submit jobs with them or delete some, or wait: unused ones are removed after a day.";
    if (count >= uploadsPerOwner) {
      const detail = `You have ${count} uploads here that no job uses, as many as a space keeps for one. ${advice}`;
      return { ok: false, code: "limit_reached", detail };
    }
    if (bytes + length <= uploadBytesPerOwner) return null;
    const detail = `With this upload those that no job uses would have ${bytes + length} bytes; a space keeps ${uploadBytesPerOwner} for one. ${advice}`;
    return { ok: false, code: "limit_reached", detail };
  }
}

function storedFileOf(upload: Upload, field: string): StoredFile {
  const { name, contentType: content_type, length: size, sha256, folder } = upload;
  return { field, name, content_type, size, sha256: sha256 ?? "", key: wholeFileIn(folder) };
}

/** Orders files that came with a submit before those that were uploaded before. */
function byFolderKind(uploads: readonly Upload[]) {
  const keys = new Set(uploads.map(({ folder }) => wholeFileIn(folder)));
  return (one: StoredFile, other: StoredFile) =>
    Number(keys.has(one.key)) - Number(keys.has(other.key));
}

function used(why: string): Refusal {
  const detail = `The upload can't be used here. ${why} Upload the file again.`;
  return { ok: false, code: "upload_used", detail };
}

function elsewhere({ received }: Upload): Refusal {
  const detail = `${received} bytes of this upload are stored: \`Upload-Offset\` must be ${received}. Ask with HEAD where an upload is.`;
  return { ok: false, code: "upload_offset", detail };
}
