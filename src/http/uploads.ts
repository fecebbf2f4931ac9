import { Hono } from "hono";
import { uploadId } from "../protocol/values.ts";
import {
  NO_SUCH_UPLOAD,
  type UploadCommand,
  type UploadReply,
} from "../space/uploads/upload-calls.ts";
import type { Upload } from "../storage/upload-store.ts";
import { callerOf } from "./access.ts";
import { ArrivingBody } from "./body.ts";
import { codingOf } from "./content-coding.ts";
import { type AppContext, type AppEnv, callSpace } from "./context.ts";
import { beginSweeps } from "./file-sweeps.ts";
import { ProblemError } from "./problems.ts";
import { limitRate } from "./rate.ts";
import {
  OFFSET_TYPE,
  placeOf,
  readChecksum,
  readCreation,
  readOffset,
  requireVersion,
} from "./tus.ts";
import { writeUpload } from "./upload-writer.ts";

/**
 * `/api/uploads`: files of any size, in as many requests as it takes, as tus 1.0 defines it (decision 0064). Whoever may
 * submit to a space may make an upload for it; then its id is the right to go on with it.
 */
export const uploads = new Hono<AppEnv>()
  .post("/", async (c) => {
    requireVersion(c);
    const { space, spec } = readCreation(c);
    const caller = await callerOf(c);
    await limitRate(c, caller);
    const { upload } = await callSpace<Answered>(c, space, (stub) =>
      stub.createUpload(caller, spec),
    );
    const id = `${space}.${upload.secret}`;
    const hasContent = c.req.header("content-type") === OFFSET_TYPE || spec.length === 0;
    const after = hasContent ? await writeBody(c, { space, secret: upload.secret }, 0) : upload;
    const headers = { ...placeOf(space, after), location: `/api/uploads/${id}` };
    return c.json(uploadBody(space, after), 201, headers);
  })
  .get("/:upload", look)
  .patch("/:upload", append)
  .delete("/:upload", remove)
  .post("/:upload", (c) => {
    // For clients that can't send other methods.
    switch (c.req.header("x-http-method-override")?.toUpperCase()) {
      case "PATCH":
        return append(c);
      case "DELETE":
        return remove(c);
      case "HEAD":
        return look(c);
      default:
        throw new ProblemError("method_not_allowed", "Send the bytes of an upload with PATCH.");
    }
  });

type Answered = Extract<UploadReply, { ok: true }>;

/** Where an upload is: in headers for tus, and as JSON for people. */
async function look(c: AppContext): Promise<Response> {
  const { space, secret } = uploadParam(c);
  const { upload } = await callUpload(c, { space, secret }, { type: "look" });
  return c.json(uploadBody(space, upload), 200, placeOf(space, upload));
}

function uploadBody(space: string, upload: Upload) {
  const { secret, name, contentType: content_type, length: size, received: offset } = upload;
  return { id: `${space}.${secret}`, space, name, content_type, size, offset };
}

async function append(c: AppContext): Promise<Response> {
  requireVersion(c);
  if (c.req.header("content-type") !== OFFSET_TYPE) {
    throw new ProblemError("unsupported_media_type", `Send \`Content-Type: ${OFFSET_TYPE}\`.`);
  }
  const place = uploadParam(c);
  const upload = await writeBody(c, place, readOffset(c));
  return c.body(null, 204, placeOf(place.space, upload));
}

async function remove(c: AppContext): Promise<Response> {
  requireVersion(c);
  const { space, secret } = uploadParam(c);
  await maskSpace(
    callSpace(c, space, async (stub) => (await stub.removeUpload(secret)) ?? { ok: true }),
  );
  return c.body(null, 204);
}

interface UploadPlace {
  space: string;
  secret: string;
}

function uploadParam(c: AppContext): UploadPlace {
  const id = uploadId.safeParse(c.req.param("upload"));
  const [space, secret] = id.success ? id.data.split(".") : [];
  if (space !== undefined && secret !== undefined) return { space, secret };
  throw new ProblemError(NO_SUCH_UPLOAD.code, NO_SUCH_UPLOAD.detail);
}

/** Writes the request's body to an upload from `offset` on. */
async function writeBody(c: AppContext, place: UploadPlace, offset: number): Promise<Upload> {
  const checksum = readChecksum(c);
  if (codingOf(c.req.header("content-encoding")) !== null) {
    throw new ProblemError("unsupported_media_type", "Send the bytes of an upload uncompressed.");
  }
  const begun = await begin(c, place, offset).catch(async (error) => {
    await new ArrivingBody(c, 0).drain();
    throw error;
  });
  if (begun.sha256 !== null) return begun;
  await beginSweeps(c.env);
  const body = new ArrivingBody(c, begun.length - offset);
  const writing = writeUpload({
    bucket: c.env.FILES,
    begun,
    body: body.pieces(),
    checksum,
    call: (command) => callUpload(c, place, command),
    stop: () => body.stop(),
  });
  // If the client leaves, what has come is stored all the same.
  c.executionCtx.waitUntil(writing.catch(() => undefined));
  const { fence } = begun;
  try {
    return await writing;
  } catch (error) {
    await body.drain();
    throw error;
  } finally {
    await callUpload(c, place, { type: "end", fence }).catch(() => undefined);
  }
}

/** How often a request asks for an upload that another one is writing, a second apart. */
const TRIES = 6;
const TRY_AGAIN_MS = 1_000;

/** After a break the former request may not have noticed yet that its client is gone. */
async function begin(c: AppContext, place: UploadPlace, offset: number): Promise<Upload> {
  for (let tries = 1; ; tries += 1) {
    try {
      return (await callUpload(c, place, { type: "begin", offset })).upload;
    } catch (error) {
      const isLocked = error instanceof ProblemError && error.code === "upload_locked";
      if (!isLocked || tries === TRIES) throw error;
      await scheduler.wait(TRY_AGAIN_MS);
    }
  }
}

function callUpload(
  c: AppContext,
  { space, secret }: UploadPlace,
  command: UploadCommand,
): Promise<Answered> {
  return maskSpace(callSpace<Answered>(c, space, (stub) => stub.upload(secret, command)));
}

/** Whoever names an upload learns nothing about its space. */
async function maskSpace<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const isGone = error instanceof ProblemError && error.code === "space_not_found";
    throw isGone ? new ProblemError(NO_SUCH_UPLOAD.code, NO_SUCH_UPLOAD.detail) : error;
  }
}
