import { exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { call, makeSpace, OPERATOR, problemOf } from "./support.ts";

describe("an address that exists", () => {
  it.each([
    ["POST", "/api/spaces/none", "GET, HEAD, PATCH, DELETE"],
    ["PUT", "/api/spaces", "GET, HEAD, POST"],
    ["DELETE", "/api/spaces/none/jobs", "POST, GET, HEAD"],
    ["GET", "/api/spaces/none/jobs/batch", "POST"],
    ["GET", "/api/spaces/none/drain", "POST"],
    ["PATCH", "/api/spaces/none/tokens/1", "DELETE"],
    ["POST", "/api/spaces/none/ws", "GET, HEAD"],
    ["GET", "/api/jobs/none/cancel", "POST"],
    ["PUT", "/api/jobs/none", "GET, HEAD, DELETE"],
    ["PUT", "/healthz", "GET, HEAD"],
    ["POST", "/spaces/none", "GET, HEAD"],
    ["POST", "/", "GET, HEAD"],
  ])(
    "%s %s is answered 405 with the methods that the address takes (H3, H2)",
    async (method, path, allow) => {
      const answer = await call(method, path);
      const problem = await problemOf(405, Promise.resolve(answer.clone()));
      expect(problem).toMatchObject({ code: "method_not_allowed", status: 405 });
      expect(problem.detail).toContain(method);
      expect(answer.headers.get("allow")).toBe(allow);
      expect(answer.headers.get("content-type")).toBe("application/problem+json");
      expect(answer.headers.get("x-request-id")).toBeTruthy();
    },
  );

  it("shows the methods to pages of other origins, too (H9)", async () => {
    const answer = await call("PUT", "/api/spaces", undefined, { origin: "https://other.test" });
    expect(answer.status).toBe(405);
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(answer.headers.get("access-control-expose-headers")).toContain("allow");
    const preflight = await call("OPTIONS", "/api/spaces", undefined, {
      origin: "https://other.test",
      "access-control-request-method": "POST",
    });
    expect(preflight.status).toBe(204);
  });

  it("answers the methods that it takes, and 404 if the space doesn't exist", async () => {
    const space = await makeSpace();
    const path = `/api/spaces/${space.name}`;
    for (const method of ["GET", "HEAD"]) expect((await call(method, path)).status).toBe(200);
    expect((await call("DELETE", path, undefined, OPERATOR)).status).toBe(204);
    expect((await problemOf(404, call("GET", path))).code).toBe("space_not_found");
  });
});

describe("an address that doesn't exist", () => {
  it.each(["GET", "POST", "DELETE", "PUT"])("is answered 404 to %s (H3)", async (method) => {
    for (const path of ["/api/nothing", "/api/spaces/a/b/c", "/nothing"]) {
      const answer = await call(method, path);
      expect(answer.headers.get("allow")).toBeNull();
      expect((await problemOf(404, Promise.resolve(answer))).code).toBe("not_found");
    }
  });
});

it("the page of a space without a name redirects to the list of spaces", async () => {
  for (const [path, status, next] of [
    ["/spaces", 302, "/"],
    ["/spaces/", 301, "/spaces"],
  ] as const) {
    const init: RequestInit = { redirect: "manual" };
    const answer = await exports.default.fetch(`https://edge.test${path}`, init);
    expect(answer.status).toBe(status);
    expect(new URL(answer.headers.get("location") ?? "", "https://edge.test").pathname).toBe(next);
  }
});

describe("the problem of an invalid request", () => {
  it("says in plain words what is wrong and in which field (H2)", async () => {
    const space = await makeSpace();
    const path = `/api/spaces/${space.name}`;
    const created = await problemOf(422, call("POST", "/api/spaces", {}, OPERATOR));
    expect(created).toMatchObject({
      detail: "name: is missing",
      errors: [{ path: "name", message: "is missing" }],
    });
    const patched = await problemOf(422, call("PATCH", path, { max_worker: 2 }, OPERATOR));
    expect(patched.detail).toContain("the request has a field that is not known here: max_worker");
    const listed = await problemOf(422, call("GET", "/api/spaces?limit=many"));
    expect(listed.errors).toEqual([{ path: "limit", message: "must be a number" }]);
    const key = { "idempotency-key": "x".repeat(256) };
    const keyed = await problemOf(422, call("POST", `${path}/jobs`, { input: {} }, key));
    expect(keyed.detail).toMatch(/^`Idempotency-Key` must be 1 to 255/);
  });
});

describe("the page of a space", () => {
  it("is answered 404 if the space is missing, and alike if its visitor may not see it (H20)", async () => {
    const open = await makeSpace();
    const hidden = await makeSpace({ visibility: "private" });
    const get = async (name: string, headers = {}) => {
      const answer = await call("GET", `/spaces/${name}`, undefined, headers);
      const { status } = answer;
      const kept = [...answer.headers].filter(([name]) => name !== "x-request-id");
      return { status, headers: kept, text: await answer.text() };
    };
    const missing = await get("nope");
    expect(missing.status).toBe(404);
    expect(Object.fromEntries(missing.headers)["content-type"]).toMatch(/^text\/html/);
    expect(missing.text).toContain("<html");
    expect(await get(hidden.name)).toEqual(missing);
    expect(await get("No%20Name")).toEqual(missing);
    expect((await get(open.name)).status).toBe(200);
    expect((await get(hidden.name, OPERATOR)).status).toBe(200);
    expect((await call("HEAD", "/spaces/nope")).status).toBe(404);
  });
});
