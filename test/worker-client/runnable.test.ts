import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { whyNotRunnable } from "../../worker-client/adapters/runnable.ts";

async function makeFolder(files: Record<string, { mode: number; text?: string }>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "runnable-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [name, { mode, text = "" }] of Object.entries(files)) {
    await writeFile(join(folder, name), text);
    await chmod(join(folder, name), mode);
  }
  return folder;
}

test("a program is looked for in PATH, past what can't be run", async () => {
  const first = await makeFolder({ model: { mode: 0o644 } });
  await mkdir(join(first, "render"));
  const second = await makeFolder({ model: { mode: 0o755 } });
  expect(whyNotRunnable("model", `${first}:${second}`)).toBeNull();
  expect(whyNotRunnable("model", first)).toBe(
    `${join(first, "model")} is not executable (chmod +x makes it so)`,
  );
  expect(whyNotRunnable("render", `/nowhere:${first}`)).toBe(
    `${join(first, "render")} is a directory`,
  );
  expect(whyNotRunnable("nothing", `${first}:${second}`)).toBe("it is in no folder of PATH");
  expect(whyNotRunnable("", first)).toBe("its name is empty");
});

test("a program with a path is not looked for in PATH", async () => {
  const folder = await makeFolder({ model: { mode: 0o755 } });
  expect(whyNotRunnable(join(folder, "model"), "")).toBeNull();
  expect(whyNotRunnable("./model", folder)).toBe("there is no file ./model");
});

test.each([
  ["#!/bin/sh\n", null],
  ["#! /usr/bin/env no-matter\n", null],
  ["no first line of that kind", null],
  [
    "#!/no/such/python\nprint(1)",
    'its first line names "/no/such/python", and there is no such file',
  ],
  ["#!/bin/sh\r\necho", 'its first line names "/bin/sh\\r", and there is no such file'],
])("a script needs the interpreter in its first line: %j", async (text, why) => {
  const folder = await makeFolder({ script: { mode: 0o755, text } });
  expect(whyNotRunnable("script", folder)).toBe(why);
});

test("a file in the working directory needs its path", () => {
  expect(whyNotRunnable("package.json", "/nowhere")).toBe(
    "it is in no folder of PATH; the file in this directory is ./package.json",
  );
});

test("a program and its arguments in one text need to be given separately", () => {
  expect(whyNotRunnable("python model.py", "/nowhere")).toBe(
    "it is in no folder of PATH; give the program and each argument separately, or run it as: sh -c '…'",
  );
});
