import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { prepareFolder, saveOutputs } from "../../terminal/save-outputs.ts";
import { Screen } from "../../terminal/screen.ts";

const CONTENT = "what the worker sent";
const SHA256 = createHash("sha256").update(CONTENT).digest("hex");

/** Serves the content under `/file`, and half of it under `/cut`. */
async function setUp() {
  const server = createServer((request, response) => {
    if (request.url === "/file") response.end(CONTENT);
    else if (request.url === "/cut") {
      response.writeHead(200, { "content-length": CONTENT.length });
      response.write(CONTENT.slice(0, 5), () => response.destroy());
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const folder = await mkdtemp(join(tmpdir(), "dialout-save-"));
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });
  let errors = "";
  const stderr = {
    write: (text: string) => {
      errors += text;
    },
  };
  const screen = new Screen({ stdout: stderr, stderr, isColored: false, isQuiet: false });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const fileOf = (name: string, path = "/file", sha256 = SHA256) => {
    return { name, content_type: "text/plain", size: CONTENT.length, sha256, url: url + path };
  };
  return { folder, fileOf, screen, errors: () => errors };
}

test("files are saved whole, under names that are none of their folder's", async () => {
  const { folder, fileOf, screen } = await setUp();
  await writeFile(join(folder, "cat.txt"), "mine");
  const names = ["cat.txt", "cat.txt", "..", "..\u001b[31m/../up.txt", "a b.tar", ".hidden"];
  expect(
    await saveOutputs(
      names.map((name) => fileOf(name)),
      folder,
      screen,
    ),
  ).toBe(true);
  const saved = ["_.._up.txt", "a b.tar", "cat-2.txt", "cat-3.txt", "cat.txt", "file", "hidden"];
  expect((await readdir(folder)).sort()).toEqual(saved);
  expect(await readFile(join(folder, "cat.txt"), "utf8")).toBe("mine");
  expect(await readFile(join(folder, "cat-2.txt"), "utf8")).toBe(CONTENT);
});

test.each([
  ["/cut", SHA256, "could not be saved"],
  ["/gone", SHA256, "the status is 404"],
  ["/file", "0".repeat(64), "it did not arrive whole"],
])("nothing is left of a file that can't be saved: %s %s", async (path, sha256, words) => {
  const { folder, fileOf, screen, errors } = await setUp();
  const files = [fileOf("one.txt", path, sha256), fileOf("two.txt")];
  expect(await saveOutputs(files, folder, screen)).toBe(false);
  expect(await readdir(folder)).toEqual(["two.txt"]);
  expect(errors()).toContain(words);
});

test("a folder that can't be made is refused before anything is sent", async () => {
  await expect(prepareFolder("/dev/null/folder")).rejects.toThrow("--save /dev/null/folder");
});
