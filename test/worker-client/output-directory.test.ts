import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { OutputDirectory } from "../../worker-client/adapters/output-directory.ts";
import type { FileContent, FileOptions } from "../../worker-client/file-upload.ts";
import { type Job, JobFailure } from "../../worker-client/index.ts";

interface Sent {
  name: string;
  text: string;
  preview: boolean;
}

/** A job's directory, with what is sent from it in order. */
async function makeDirectory(refuse: (name: string) => boolean = () => false) {
  const root = await mkdtemp(join(tmpdir(), "dialout-outputs-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const sent: Sent[] = [];
  const file = async (name: string, content: FileContent, options: FileOptions = {}) => {
    if (refuse(name)) throw new JobFailure("worker_error", "no");
    const { path } = content as { path: string };
    sent.push({ name, text: await readFile(path, "utf8"), preview: options.preview === true });
    return { name, contentType: "text/plain", size: 1, sha256: "" };
  };
  const job: Pick<Job, "file"> = { file };
  const directory = await OutputDirectory.make(join(root, "outputs"), job);
  const write = (name: string, text = name) => writeFile(join(directory.path, name), text);
  return { root, directory, write, sent, names: () => sent.map(({ name }) => name) };
}

describe("the files that a program leaves", () => {
  test("are sent in the order of their names, and only those that lie directly there", async () => {
    const { root, directory, write, names } = await makeDirectory();
    for (const name of ["b.txt", "a.txt", "ü.txt"]) await write(name);
    await writeFile(join(root, "secret"), "not for others");
    await symlink(join(root, "secret"), join(directory.path, "link.txt"));
    await mkdir(join(directory.path, "folder"));
    await writeFile(join(directory.path, "folder", "deep.txt"), "x");
    await directory.sendRest();
    expect(names()).toEqual(["a.txt", "b.txt", "ü.txt"]);
  });

  test("and that it told of are sent once, in that order", async () => {
    const { directory, write, names } = await makeDirectory();
    for (const name of ["a.txt", "b.txt", "c.txt"]) await write(name);
    await Promise.all([directory.send("c.txt"), directory.send("b.txt")]);
    await directory.sendRest();
    expect(names()).toEqual(["c.txt", "b.txt", "a.txt"]);
  });

  test("as previews get names of their own, and aren't sent again at the end", async () => {
    const { directory, write, sent } = await makeDirectory();
    for (const text of ["one", "two"]) {
      await write("now.png", text);
      await directory.send("now.png", true);
    }
    await directory.sendRest();
    expect(sent).toEqual([
      { name: "now-1.png", text: "one", preview: true },
      { name: "now-2.png", text: "two", preview: true },
    ]);
  });

  test.each(["missing.txt", "../secret", "link.txt", "folder", ""])("can't be %j", async (name) => {
    const { root, directory } = await makeDirectory();
    await writeFile(join(root, "secret"), "not for others");
    await symlink(join(root, "secret"), join(directory.path, "link.txt"));
    await mkdir(join(directory.path, "folder"));
    await expect(directory.send(name)).rejects.toThrow(JobFailure);
  });

  test("may be no more than a job can have, and one that is refused doesn't hold up others", async () => {
    const { directory, write, names } = await makeDirectory((name) => name === "no.txt");
    for (const name of ["no.txt", "yes.txt"]) await write(name);
    const refused = directory.send("no.txt");
    await directory.send("yes.txt");
    await expect(refused).rejects.toThrow("no");
    expect(names()).toEqual(["yes.txt"]);
    for (let n = 0; n < 65; n += 1) await write(`${n}.txt`);
    await expect(directory.sendRest()).rejects.toThrow(/65 files .+ 64/);
  });
});
