import { Hono } from "hono";
import { z } from "zod";
import { outputKey } from "../files/file-keys.ts";
import { isUploadGrant } from "../files/signed-url.ts";
import { storeStream, WrongChecksum } from "../files/store-stream.ts";
import { LIMITS } from "../protocol/limits.ts";
import { outputName } from "../protocol/output-files.ts";
import type { OutputFile } from "../queue/output-files.ts";
import { ATTEMPT_OVER } from "../space/calls.ts";
import type { ComingFile, UploadStart, UploadTarget } from "../space/jobs/uploads.ts";
import { callerOf } from "./access.ts";
import { codingOf, tooLarge } from "./content-coding.ts";
import {
  type AppContext,
  type AppEnv,
  callJobForText,
  callSpace,
  jobParam,
  maskMissingSpace,
  refused,
  signingKeysOf,
  stubOf,
} from "./context.ts";
import { beginSweeps } from "./file-sweeps.ts";
import { headerName, presentOutput } from "./output-presentation.ts";
import { ProblemError, validate } from "./problems.ts";
import { answerStored } from "./stored-file.ts";

/**
 * The output files of jobs: workers send them to the address in the `job` frame (W36), and whoever may see a job
 * fetches them by name.
 */
export const outputFiles = new Hono<AppEnv>()
  .put("/:job/attempts/:attempt/outputs/:name", async (c) => {
    const { space, target } = targetOf(c);
    try {
      return await receive(c, space, target);
    } catch (error) {
      // Many clients read the answer only after they have sent the whole body.
      await drain(c);
      throw error;
    }
  })
  .get("/:job/outputs/:name", async (c) => {
    const caller = await callerOf(c);
    const { space, ulid } = jobParam(c);
    const name = c.req.param("name");
    const text = await callJobForText(c, space, (stub) => stub.output(caller, ulid, name));
    const { key } = storedKey.parse(JSON.parse(text));
    return answerStored(c, key, (file) => ({ ...presentOutput(file), isShared: false }));
  });

const storedKey = z.object({ key: z.string() });

/** @throws {ProblemError} if the address was not made for a worker of the space */
function targetOf(c: AppContext): { space: string; target: UploadTarget } {
  const { space, ulid } = jobParam(c);
  const { worker: workerId = "", signature = "" } = c.req.query();
  if (!isUploadGrant(signingKeysOf(c), space, workerId, signature)) {
    const detail = "The signature of this address is wrong: use it as the `job` frame gave it.";
    throw new ProblemError("not_allowed", detail);
  }
  const attempt = Number(c.req.param("attempt"));
  // No job has such an attempt.
  if (!Number.isSafeInteger(attempt)) throw refused(ATTEMPT_OVER);
  return { space, target: { ulid, attempt, workerId } };
}

async function receive(c: AppContext, space: string, target: UploadTarget): Promise<Response> {
  const coming = comingOf(c);
  const started = await maskMissingSpace(
    callSpace<UploadStart>(c, space, (stub) => stub.startUpload(target, coming)),
  );
  if ("stored" in started) {
    await drain(c);
    return c.json(started.stored, 200);
  }
  const { place } = started;
  const key = outputKey(space, place);
  const stub = stubOf(c, space);
  try {
    const { contentType, sha256 } = await store(c, key, coming);
    const { name, size } = coming;
    const file: OutputFile = { ...place, name, content_type: contentType, size, sha256 };
    const ended = await stub.finishUpload(target, file);
    if (!ended.ok) throw refused(ended);
    if (ended.isRepeat) await removeStored(c, key);
    return c.json(ended.stored, ended.isRepeat ? 200 : 201);
  } catch (error) {
    await stub.dropUpload(target, coming.name).catch(() => undefined);
    // After any other error the space may have taken the file (decision 0017).
    if (error instanceof ProblemError) await removeStored(c, key);
    throw error;
  }
}

/** What the headers say of the file, as far as it can be taken. */
function comingOf(c: AppContext): ComingFile {
  const name = validate(outputName, c.req.param("name"), "the file's name");
  if (codingOf(c.req.header("content-encoding")) !== null) {
    const detail = "Send the file as it is, without `Content-Encoding`.";
    throw new ProblemError("unsupported_media_type", detail);
  }
  const length = c.req.header("content-length");
  if (length === undefined || !/^\d{1,15}$/.test(length)) {
    const detail =
      "Send the file's size as `Content-Length`: what comes in pieces can't be stored.";
    throw new ProblemError("length_required", detail);
  }
  const size = Number(length);
  if (size > LIMITS.outputFileBytes) throw tooLarge(LIMITS.outputFileBytes);
  return { name, size, sha256: digestOf(c.req.header("repr-digest")) };
}

/** The SHA-256 in a `Repr-Digest` (RFC 9530), in hexadecimal digits; `null` if there is none. */
function digestOf(header: string | undefined): string | null {
  const given = /(?:^|,)\s*sha-256\s*=\s*([^,]*)/i.exec(header ?? "")?.[1];
  if (given === undefined) return null;
  const bytes = /^:([A-Za-z0-9+/]{43}=):\s*$/.exec(given)?.[1];
  if (bytes !== undefined) return Buffer.from(bytes, "base64").toString("hex");
  const detail = "`Repr-Digest` must be `sha-256=:<the digest in base64>:`.";
  throw new ProblemError("invalid_request", detail, [{ path: "repr-digest", message: detail }]);
}

async function store(c: AppContext, key: string, { size, sha256, name }: ComingFile) {
  await beginSweeps(c.env);
  const body = c.req.raw.body ?? new Blob([]).stream();
  try {
    return await storeStream(c.env.FILES, key, body, {
      size,
      sha256,
      declaredType: c.req.header("content-type") ?? null,
      headerName: headerName(name),
    });
  } catch (error) {
    if (error instanceof WrongChecksum) {
      const detail =
        "The file's SHA-256 is not that of `Repr-Digest`: nothing was kept. Send it again.";
      throw new ProblemError("checksum_mismatch", detail);
    }
    console.warn("an output file did not arrive whole", error);
    const detail = "The file did not arrive whole, and nothing was kept: send it again.";
    throw new ProblemError("temporarily_unavailable", detail);
  }
}

/** If that fails, the next sweep removes it (decision 0045). */
async function removeStored(c: AppContext, key: string): Promise<void> {
  try {
    await c.env.FILES.delete(key);
  } catch (error) {
    console.error("a file that was refused could not be removed", error);
  }
}

/** What is left of a body that is not wanted is read up to this many bytes. */
const MAX_DRAIN = LIMITS.outputFileBytes;

async function drain(c: AppContext): Promise<void> {
  const { body } = c.req.raw;
  if (body === null || body.locked) return;
  let bytes = 0;
  try {
    for await (const piece of body) {
      bytes += piece.byteLength;
      if (bytes > MAX_DRAIN) break;
    }
  } catch {
    // The client is gone.
  }
}
