import { Hono } from "hono";
import { UNKNOWN_TYPE } from "../files/content-type.ts";
import { outputPlaceOf } from "../files/file-keys.ts";
import { checkFileUrl } from "../files/signed-url.ts";
import { type AppContext, type AppEnv, signingKeysOf } from "./context.ts";
import { presentOutput } from "./output-presentation.ts";
import { ProblemError } from "./problems.ts";
import { answerStored } from "./stored-file.ts";

/**
 * `/api/files/<key>`: anyone who has the signed address may fetch the file, or a part of it, until the address
 * expires. A worker whose connection breaks goes on where it was, instead of beginning again.
 */
export const files = new Hono<AppEnv>().get("/:key{.+}", async (c) => {
  const key = c.req.param("key");
  requireValidAddress(c, key);
  // What users uploaded is never shown, whatever its type; what workers sent is, where that is safe.
  const present = outputPlaceOf(key) === null ? () => DOWNLOAD : presentOutput;
  return answerStored(c, key, present);
});

const DOWNLOAD = { type: UNKNOWN_TYPE, disposition: "attachment", isShared: false };

function requireValidAddress(c: AppContext, key: string): void {
  const { expires = "", signature = "" } = c.req.query();
  const found = checkFileUrl(signingKeysOf(c), key, expires, signature, Date.now());
  if (found === "valid") return;
  const detail =
    found === "expired"
      ? "This address has expired: it was valid until shortly after the deadline of its attempt, or for an hour or two. A worker that still has the attempt gets another address when it is resumed, and a job's `outputs` have new ones each time."
      : "The signature of this address is wrong: use it as the `job` frame or the job's `outputs` gave it.";
  throw new ProblemError("not_allowed", detail);
}
