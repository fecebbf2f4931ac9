import { describe, expect, inject, it } from "vitest";
import { EdgeClient } from "./client.ts";

const edge = new EdgeClient(inject("edgeUrl"));
const ECHO = ["exec", "--", "cat"];

describe("dialout-worker", () => {
  it("that finds its space occupied and may not wait prints why and ends; the first worker goes on (W7)", async () => {
    const space = await edge.makeSpace();
    const first = await edge.startWorker(space, ECHO);
    const second = edge.launchWorker(space, ["exec", "--no-wait", "--", "cat"]);
    expect(await second.exited).toBe(1);
    expect(second.printed).toContain(`Another worker serves the space ${space.name}`);
    expect(await edge.ended((await edge.submit(space.name, {})).id)).toMatchObject({
      status: "completed",
    });
    expect(await first.stop()).toBe(0);
  });

  it("that finds its space occupied waits for the place of the other worker (W7c)", async () => {
    const space = await edge.makeSpace();
    const first = await edge.startWorker(space, ECHO);
    const second = edge.launchWorker(space, ECHO);
    await second.prints("Waiting until there is a place");
    expect(second.printed).toContain(`Another worker serves the space ${space.name}`);
    expect(await first.stop()).toBe(0);
    await second.prints("serving");
    expect(await edge.ended((await edge.submit(space.name, {})).id)).toMatchObject({
      status: "completed",
    });
    expect(await second.stop()).toBe(0);
  });

  it("serves the space whose page it was given", async () => {
    const space = await edge.makeSpace();
    const page = `${edge.url}/spaces/${space.name}`;
    await edge.startWorker(space, ["exec", "--url", page, "--", "cat"]);
  });

  it("is told which space doesn't exist, and that an address is no edge's", async () => {
    const space = await edge.makeSpace();
    const nowhere = edge.launchWorker({ ...space, name: "no-such-space" }, ECHO);
    expect(await nowhere.exited).toBe(1);
    expect(nowhere.printed).toContain('There is no space named "no-such-space"');
    const lost = edge.launchWorker(space, ["exec", "--url", `${edge.url}/dialout`, "--", "cat"]);
    expect(await lost.exited).toBe(2);
    expect(lost.printed).toContain("an edge is served at the root of a host name");
  });

  it("fails the job whose program writes a result that is no JSON, and goes on", async () => {
    const space = await edge.makeSpace();
    const program = `
      const { input } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
      console.log(input.line);`;
    const worker = await edge.startWorker(space, ["exec", "--", "node", "-e", program]);
    const line = "{'type': 'result', 'output': None}";
    const { id } = await edge.submit(space.name, { line });
    const job = await edge.ended(id);
    expect(job).toMatchObject({ status: "failed", error: { code: "worker_error" } });
    expect(job.error?.message).toContain(line);
    const { id: next } = await edge.submit(space.name, { line: '{"type":"result","output":1}' });
    expect(await edge.ended(next)).toMatchObject({ status: "completed", result: 1 });
    expect(await worker.stop()).toBe(0);
  });

  it("with the token of another space is refused, prints why and ends (W2, W3)", async () => {
    const space = await edge.makeSpace();
    const other = await edge.makeSpace();
    const worker = edge.launchWorker({ ...space, token: other.token }, ECHO);
    expect(await worker.exited).toBe(1);
    expect(worker.printed).toMatch(/token .*wrong or revoked/);
    expect(worker.printed).not.toContain(other.token);
  });

  it("finishes its job on SIGTERM before it ends, and prints what it did (W28)", async () => {
    const space = await edge.makeSpace();
    const program = "console.log('begun'); setTimeout(() => console.log('done'), 500)";
    const worker = await edge.startWorker(space, ["exec", "--", "node", "-e", program]);
    const { id } = await edge.submit(space.name, {});
    await worker.prints("received");
    expect(await worker.stop("SIGTERM")).toBe(0);
    expect(worker.printed).toContain("jobs: 1 received, 1 completed");
    expect(await edge.job(id)).toMatchObject({ status: "completed", result: "begun\ndone\n" });
  });

  it("gives a program the files of a job, and reports the program's failure", async () => {
    const space = await edge.makeSpace({ enable_file_upload: true });
    const program = `
      const { files } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
      console.log(require("node:fs").readFileSync(files[0].path, "utf8"));
      console.error("no more paper");
      process.exit(3);`;
    const worker = await edge.startWorker(space, ["exec", "--", "node", "-e", program]);
    const form = new FormData();
    form.append("file", new File(["from the file"], "../../etc/a.txt"));
    const response = await fetch(`${edge.url}/api/spaces/${space.name}/jobs`, {
      method: "POST",
      body: form,
    });
    const { id, files } = (await response.json()) as { id: string; files: { name: string }[] };
    expect(files[0]?.name).toBe("a.txt");
    const job = await edge.ended(id);
    expect(job).toMatchObject({ status: "failed", output: "from the file\n" });
    expect(job.error?.message).toBe("The program exited with code 3.");
    await worker.prints(/exited with code 3; its standard error ends:\s+no more paper/);
  });

  it("shows submitters the program's standard error only with --show-stderr (W18a)", async () => {
    const space = await edge.makeSpace();
    const program = `console.error("no more paper"); process.exit(3);`;
    await edge.startWorker(space, ["exec", "--show-stderr", "--", "node", "-e", program]);
    const { id } = await edge.submit(space.name, {});
    const { error } = await edge.ended(id);
    expect(error?.message).toBe("The program exited with code 3: no more paper");
  });
});
