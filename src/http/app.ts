import { Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId } from "hono/request-id";
import { getPath } from "hono/utils/url";
import { checkEnv } from "../env.ts";
import { accounts } from "./accounts.ts";
import { audit } from "./audit.ts";
import { backendJobs } from "./backend-jobs.ts";
import type { AppEnv } from "./context.ts";
import { withoutEndSlashes } from "./end-slashes.ts";
import { files } from "./files.ts";
import { firstSystem } from "./first-system.ts";
import { jobs, spaceJobs } from "./jobs.ts";
import { keys } from "./keys.ts";
import { me } from "./me.ts";
import { members } from "./members.ts";
import { monitor } from "./monitor.ts";
import { oauth } from "./oauth.ts";
import { crossOrigin, requireNamedOrigin } from "./origins.ts";
import { outputFiles } from "./output-files.ts";
import { pages } from "./pages.ts";
import { answerError, answerWrongMethod, ProblemError } from "./problems.ts";
import { rooms } from "./rooms.ts";
import { sockets } from "./sockets.ts";
import { spaces } from "./spaces.ts";
import { tokens } from "./tokens.ts";
import { invitations, users } from "./users.ts";
import { webHeaders } from "./web-headers.ts";

/**
 * An address with slashes at its end is the same address, for every method. A redirect would lose the body of
 * some clients, and sockets don't follow one.
 */
export const app = new Hono<AppEnv>({ getPath: (request) => withoutEndSlashes(getPath(request)) });

app
  .use(requestId())
  .use(webHeaders)
  .use(methodNotAllowed({ app, onMethodNotAllowed: answerWrongMethod }))
  .use(async (c, next) => {
    checkEnv(c.env);
    await next();
  })
  .use(requireNamedOrigin)
  .route("/", sockets)
  .use("/api/*", crossOrigin)
  .get("/healthz", (c) => c.json({ status: "ok" }))
  .route("/api/spaces/:space/jobs", spaceJobs)
  .route("/api/spaces/:space/members", members)
  .route("/api/spaces", spaces)
  .route("/api/jobs", backendJobs)
  .route("/api/jobs", jobs)
  .route("/api/jobs", outputFiles)
  .route("/api/files", files)
  .route("/api/rooms", rooms)
  .route("/api/auth", oauth)
  .route("/api/auth", accounts)
  .route("/api/me", me)
  .route("/api/keys", keys)
  .route("/api/tokens", tokens)
  .route("/api/users", users)
  .route("/api/audit", audit)
  .route("/api/invitations", invitations)
  .route("/websockets", firstSystem)
  .route("/", monitor)
  .route("/", pages)
  .notFound((c) => {
    const detail = `There is nothing at ${c.req.path.slice(0, 100)}: check the address.`;
    return answerError(new ProblemError("not_found", detail), c);
  })
  .onError(answerError);
