import { describe, expect, inject, it } from "vitest";
import { EdgeClient } from "./client.ts";

const edge = new EdgeClient(inject("edgeUrl"));
const ECHO = ["exec", "--", "cat"];

describe("dialout-worker", () => {
  it("that finds its space occupied prints why and ends; the first worker goes on (W7)", async () => {
    const space = await edge.makeSpace();
    const first = await edge.startWorker(space, ECHO);
    const second = edge.launchWorker(space, ECHO);
    expect(await second.exited).toBe(1);
    expect(second.printed).toContain(`Another worker serves the space ${space.name}`);
    expect(await edge.ended((await edge.submit(space.name, {})).id)).toMatchObject({
      status: "completed",
    });
    expect(await first.stop()).toBe(0);
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
    await edge.startWorker(space, ["exec", "--", "node", "-e", program]);
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
    expect(job.error?.message).toMatch(/3.*no more paper/s);
  });
});
