/** A worker in a tab of Chromium, as a program: it serves the edge that its environment names. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../e2e/chromium-options.ts";

const { DIALOUT_URL: url = "", DIALOUT_SPACE: space = "", DIALOUT_TOKEN: token = "" } = process.env;

const { outputFiles } = await build({
  entryPoints: [join(import.meta.dirname, "tab-worker-page.ts")],
  bundle: true,
  format: "esm",
  write: false,
});
const script = outputFiles[0]?.text ?? "";
const server = createServer((request, response) => {
  const isScript = request.url === "/page.js";
  response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
  response.end(isScript ? script : '<script type="module" src="/page.js"></script>');
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const browser = await chromium.launch(CHROMIUM);
const page = await browser.newPage();
page.on("console", (message) => console.error(message.text()));
const query = new URLSearchParams({ url, space, token });
await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/?${query}`);
process.once("SIGTERM", () => void page.evaluate("drain()"));
console.error(await page.evaluate("run"));
await browser.close();
server.close();
