import { describe, expect, it } from "vitest";
import { call, makeSpace, OPERATOR, problemOf } from "./support.ts";

async function detailOf(status: number, answer: Promise<Response>): Promise<string> {
  return (await problemOf(status, answer)).detail;
}

function connect(space: string, headers: Record<string, string> = {}): Promise<Response> {
  const upgrade = { upgrade: "websocket", ...headers };
  return call("GET", `/api/spaces/${space}/connect`, undefined, upgrade);
}

describe("a refusal says what is wrong and what to do", () => {
  it("names the space that doesn't exist, on every way to it", async () => {
    const words = 'There is no space named "nowhere"';
    expect(await detailOf(404, call("GET", "/api/spaces/nowhere"))).toContain(words);
    expect(await detailOf(404, call("POST", "/api/spaces/nowhere/jobs", { input: {} }))).toContain(
      words,
    );
    expect(await detailOf(404, connect("nowhere"))).toContain(words);
    const gone = call("DELETE", "/api/spaces/nowhere", undefined, OPERATOR);
    expect(await detailOf(404, gone)).toContain(words);
    const tokens = call("GET", "/api/spaces/nowhere/tokens", undefined, OPERATOR);
    expect(await detailOf(404, tokens)).toContain(words);
    expect(await detailOf(404, call("GET", "/api/spaces/No%20Name"))).toContain('"No Name"');
    const long = await detailOf(404, call("GET", `/api/spaces/${"x".repeat(2_000)}`));
    expect(long.length).toBeLessThan(250);
  });

  it("tells a worker whether its token is missing or wrong, and who makes one", async () => {
    const { name } = await makeSpace();
    const { token } = await makeSpace();
    const missing = await detailOf(401, connect(name));
    expect(missing).toContain(`needs a token of the space ${name}`);
    const wrong = await detailOf(401, connect(name, { authorization: `Bearer ${token}` }));
    expect(wrong).toContain("wrong or revoked, or another space's");
    expect(wrong).not.toContain(token);
    for (const detail of [missing, wrong]) {
      expect(detail).toContain(`POST /api/spaces/${name}/tokens`);
    }
  });

  it("names the setting of a space that takes no prompt or no file", async () => {
    const { name } = await makeSpace({ enable_prompt: false });
    const path = `/api/spaces/${name}/jobs`;
    const prompt = await detailOf(422, call("POST", path, { input: { prompt: "hi" } }));
    expect(prompt).toMatch(/operator .*`enable_prompt`/);
    const batch = await call("POST", `${path}/batch`, { jobs: [{ input: { prompt: "hi" } }] });
    expect(await batch.text()).toContain("enable_prompt");
  });

  it.each([
    ['{"input":NaN}', "NaN"],
    ["{'input': {}}", "single quotes"],
    ['{"input":{}', "too early"],
    ["", "send a JSON object"],
  ])("says why a body is no JSON: %s", async (body, words) => {
    const { name } = await makeSpace();
    const headers = { "content-type": "application/json" };
    const answer = call("POST", `/api/spaces/${name}/jobs`, body, headers);
    expect(await detailOf(400, answer)).toContain(words);
  });

  it("names the address at which there is nothing, without its query", async () => {
    const detail = await detailOf(404, call("GET", "/api/nothing?token=secret"));
    expect(detail).toBe("There is nothing at /api/nothing: check the address.");
  });
});
