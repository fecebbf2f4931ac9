import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../../scripts/local.ts";

const run = promisify(execFile);

/** Returns the block of a page, such as `docs/api.md`, that is in this language and contains `words`. */
export function sampleOf(page: string, words: string, language = "sh"): string {
  const text = readFileSync(join(ROOT, page), "utf8");
  const blocks = text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"));
  const block = [...blocks].map(([, code]) => code ?? "").find((code) => code.includes(words));
  if (block === undefined) throw new Error(`${page} has no ${language} block with "${words}"`);
  return block;
}

/** Runs shell code as a reader would paste it, but with this edge instead of the usual one. */
export async function paste(
  code: string,
  edgeUrl: string,
  { cwd = ROOT, strict = true }: { cwd?: string; strict?: boolean } = {},
): Promise<string> {
  const here = code.replaceAll("127.0.0.1:8787", new URL(edgeUrl).host);
  const flags = strict ? ["-euo", "pipefail"] : [];
  return (await run("bash", [...flags, "-c", here], { cwd })).stdout;
}
