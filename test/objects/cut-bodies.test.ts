import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { app } from "../../src/http/app.ts";
import { makeSpace } from "./support.ts";

afterEach(() => void vi.restoreAllMocks());

/** A body of which only the beginning comes. */
function cutShort(): ReadableStream<Uint8Array> {
  let pulls = 0;
  return new ReadableStream({
    pull(controller) {
      pulls += 1;
      if (pulls === 1) controller.enqueue(new TextEncoder().encode('{"input":'));
      else controller.error(new Error("Network connection lost."));
    },
  });
}

describe("a body that breaks off", () => {
  it.each(["application/json", "multipart/form-data; boundary=b"])(
    "as %s is no failure of the edge, and is not logged as one",
    async (type) => {
      const { name } = await makeSpace();
      const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
      const request = new Request(`https://edge.test/api/spaces/${name}/jobs`, {
        method: "POST",
        headers: { "content-type": type },
        body: cutShort(),
      });
      const answer = await app.fetch(request, env);
      expect(answer.status).toBe(503);
      expect(await answer.json()).toMatchObject({ code: "temporarily_unavailable" });
      expect(logged).not.toHaveBeenCalled();
    },
  );
});
