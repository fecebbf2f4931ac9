import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { withRequired } from "../../scripts/edge-config.ts";
import { ROOT } from "../../scripts/local.ts";

it("former secrets are added to those that the edge requires, and nothing else changes", () => {
  const text = readFileSync(join(ROOT, "wrangler.toml"), "utf8");
  const changed = withRequired(text, ["SIGNING_KEY_FORMER", "JWT_SECRET_FORMER"]);
  const lines = text.split("\n");
  const differing = changed.split("\n").filter((line, index) => line !== lines[index]);
  expect(differing).toEqual([
    'required = ["OPERATOR_KEY", "SIGNING_KEY", "JWT_SECRET", "SIGNING_KEY_FORMER", "JWT_SECRET_FORMER"]',
  ]);
});
