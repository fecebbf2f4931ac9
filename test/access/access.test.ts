import { describe, expect, it } from "vitest";
import { app } from "../../src/http/app.ts";
import { DOORS, PAGES } from "./doors.ts";
import { PARTIES } from "./parties.ts";
import { RIGHTS } from "./rights.ts";

/** The routes that answer by themselves, without the patterns of their parameters. */
function routesOfApp(): Set<string> {
  const routes = app.routes.filter(({ method }) => method !== "ALL");
  return new Set(routes.map(({ method, path }) => `${method} ${path.replace(/\{[^/]*\}+/g, "")}`));
}

describe("the table of who may do what", () => {
  it("has every route of the edge, and no other", () => {
    const doors = DOORS.map(
      ({ method, path }) => `${method === "SOCKET" ? "GET" : method} ${path}`,
    );
    const pages = PAGES.map((path) => `GET ${path}`);
    expect(new Set([...doors, ...pages])).toEqual(routesOfApp());
  });

  it("is what docs/access.md says", async () => {
    await expect(text()).toMatchFileSnapshot("../../docs/access.md");
  });
});

function text(): string {
  const rights = Object.entries(RIGHTS).map(([name, { text }]) => `| ${name} | ${text} |`);
  const doors = DOORS.map(({ method, path, right, scope, note, isBackendJob }) => {
    const about = [isBackendJob ? "a job without a space" : "", note ?? ""].filter(Boolean);
    const cells = [`\`${method} ${path}\``, right, scope ? `\`${scope}\`` : "", about.join("; ")];
    return `| ${cells.join(" | ")} |`;
  });
  return `# Who may do what

Every route and socket of the edge, what it asks of whoever comes, and the scope that a key needs for it. A key may never do more than its owner. This page is made from the table with which each route is tried (\`test/access\`).

A key, token or session that has ended (expired, revoked, of a disabled account) is refused wherever a right is needed. Somebody without any gets 401; somebody who is known gets 403, or 404 where they may not know that the space or job is there.

## Rights

| right | who has it |
| --- | --- |
${rights.join("\n")}

## Routes and sockets

| route | right | scope | |
| --- | --- | --- | --- |
${doors.join("\n")}

Pages (${PAGES.map((path) => `\`${path}\``).join(", ")}) are open to anybody, and show what their visitor may see.
`;
}

it("names only parties that there are", () => {
  const known = Object.keys(PARTIES);
  for (const { parties } of Object.values(RIGHTS))
    expect(known).toEqual(expect.arrayContaining([...parties]));
});
