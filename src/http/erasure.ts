import { Users } from "../accounts/users.ts";
import { userHolder } from "../auth/credential.ts";
import { SpaceCatalog } from "../catalog/space-catalog.ts";
import { jobsOfUserQuery } from "../protocol/accounts.ts";
import { note } from "./audit.ts";
import { type AppContext, answerJson } from "./context.ts";
import { ProblemError, validate } from "./problems.ts";
import { takeBack } from "./take-back.ts";
import { UserData } from "./user-data.ts";

/** How many of the spaces that somebody owns a refusal names. */
const NAMED_SPACES = 10;

/** Answers with a page of a user's jobs in all spaces. */
export async function listJobsOf(c: AppContext, user: string): Promise<Response> {
  const { cursor, limit } = validate(jobsOfUserQuery, c.req.query());
  return answerJson(c, await new UserData(c.env, user).jobs({ before: cursor, limit }));
}

/** Answers with everything that the edge stores of a user, as one JSON file. */
export async function exportUser(c: AppContext, user: string): Promise<Response> {
  await note(c, "user.export", `user:${user}`);
  const pieces = new UserData(c.env, user).exported();
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    cancel: async () => void (await pieces.return(undefined)),
  });
  return c.body(body, 200, {
    "content-type": "application/json",
    "content-disposition": 'attachment; filename="dialout-export.json"',
  });
}

/**
 * Erases a user: jobs with their files, the events of their own room, what they may do with others' spaces, keys,
 * sessions and account. A user whom only tokens name has no account, and is erased alike.
 *
 * The data comes first: if this is interrupted, whoever asked can still ask again.
 *
 * @throws {ProblemError} if the user owns spaces or is the last admin, or if there is more than one request can erase
 */
export async function eraseUser(c: AppContext, user: string): Promise<void> {
  const owned = await new SpaceCatalog(c.env.DB).ownedBy(user, NAMED_SPACES);
  if (owned.length > 0) {
    const detail = `Delete these spaces first, or give them to somebody else: ${owned.join(", ")}.`;
    throw new ProblemError("owns_spaces", detail);
  }
  const users = new Users(c.env.DB);
  if (await users.isLastAdmin(user)) throw lastAdmin();
  const data = new UserData(c.env, user);
  await eraseData(data);
  const isRemoved = await takeBack(c, userHolder(user), () => users.remove(user));
  if (!isRemoved) throw lastAdmin();
  // Until its account was gone a program may have submitted more.
  await eraseData(data);
  await note(c, "user.erase", `user:${user}`);
}

async function eraseData(data: UserData): Promise<void> {
  if (await data.erase()) return;
  const detail = "A part is erased, and there is more: send the request again.";
  throw new ProblemError("temporarily_unavailable", detail, undefined, { "retry-after": "1" });
}

function lastAdmin(): ProblemError {
  return new ProblemError("last_admin", "This is the last admin: make another one first.");
}
