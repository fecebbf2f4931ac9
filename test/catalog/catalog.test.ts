import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpaceCatalog } from "../../src/catalog/space-catalog.ts";
import { readSpacePage } from "../../src/catalog/space-page.ts";
import { WorkerTokens } from "../../src/catalog/worker-tokens.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/resources.ts";
import { pass, runInFakeRuntime, START } from "../support/runtime/globals.ts";
import { fakeD1 } from "./d1.ts";

runInFakeRuntime();

function entry(name: string, settings: Partial<typeof DEFAULT_SETTINGS> = {}) {
  return { name, settings: { ...DEFAULT_SETTINGS, ...settings }, owner: null };
}

/** What anybody is shown. */
const ANYBODY = { all: false, userId: null, spaces: null, after: "", limit: 10 };

describe("the catalogue of spaces", () => {
  it("has each name once, and keeps the first", async () => {
    const catalog = new SpaceCatalog(fakeD1());
    const first = entry("demo", { title: "first", max_workers: 3 });
    expect(await catalog.add(first)).toBe("added");
    expect(await catalog.add(entry("demo", { title: "second" }))).toBe("exists");
    expect(await catalog.get("demo")).toEqual(first);
    expect(await catalog.get("other")).toBe(null);
  });

  it("lists public spaces by name, page by page, and private ones only if all are wanted", async () => {
    const catalog = new SpaceCatalog(fakeD1());
    for (const name of ["c", "a", "e", "b"]) await catalog.add(entry(name));
    await catalog.add(entry("d", { visibility: "private" }));
    const names = async (filter: { all: boolean; after: string; limit: number }) =>
      (await catalog.list({ ...ANYBODY, ...filter })).map(({ name }) => name);
    expect(await names({ all: false, after: "", limit: 10 })).toEqual(["a", "b", "c", "e"]);
    expect(await names({ all: true, after: "", limit: 10 })).toEqual(["a", "b", "c", "d", "e"]);
    expect(await names({ all: true, after: "b", limit: 2 })).toEqual(["c", "d"]);
    expect(await names({ all: true, after: "e", limit: 2 })).toEqual([]);
  });

  it("shows a space as it was changed last, and no other", async () => {
    const catalog = new SpaceCatalog(fakeD1());
    for (const name of ["a", "b"]) await catalog.add(entry(name));
    const changed = entry("a", { title: "new", visibility: "private", job_timeout_s: 7 });
    await catalog.update(changed);
    expect(await catalog.get("a")).toEqual(changed);
    expect(await catalog.get("b")).toEqual(entry("b"));
    expect(await catalog.list(ANYBODY)).toEqual([entry("b")]);
    await catalog.update(entry("a"));
    expect(await catalog.list(ANYBODY)).toHaveLength(2);
  });

  it("gives settings that are newer than a space their defaults", async () => {
    const db = fakeD1();
    const catalog = new SpaceCatalog(db);
    await catalog.add(entry("a"));
    await db.prepare(`UPDATE spaces SET settings = '{"title":"old"}'`).run();
    expect(await catalog.get("a")).toEqual(entry("a", { title: "old" }));
  });

  it("lists a space that is being deleted no more, nor its tokens, and frees its name at the end", async () => {
    const db = fakeD1();
    const catalog = new SpaceCatalog(db);
    const tokens = new WorkerTokens(db);
    for (const name of ["a", "b"]) {
      await catalog.add(entry(name));
      await tokens.mint(name, "box");
    }
    await catalog.endDelete("a");
    expect(await catalog.has("a")).toBe(true);
    expect(await catalog.beginDelete("a")).toBe(true);
    expect([await catalog.has("a"), await catalog.get("a")]).toEqual([false, null]);
    const all = { ...ANYBODY, all: true };
    expect(await catalog.list(all)).toEqual([entry("b")]);
    expect([await tokens.list("a"), (await tokens.list("b")).length]).toEqual([[], 1]);
    await catalog.update(entry("a", { title: "back" }));
    expect(await catalog.get("a")).toBe(null);
    // It was cut off, and is done again.
    await tokens.mint("a", "left over");
    expect(await catalog.beginDelete("a")).toBe(true);
    expect(await tokens.list("a")).toEqual([]);
    await catalog.endDelete("a");
    expect(await catalog.beginDelete("a")).toBe(false);
    expect(await catalog.add(entry("a"))).toBe("added");
    expect([await catalog.has("a"), await catalog.has("b"), await catalog.has("c")]).toEqual([
      true,
      true,
      false,
    ]);
  });
});

describe("the list of spaces", () => {
  it("has those that somebody owns, is a member of, or has a token for, besides the public ones", async () => {
    const catalog = new SpaceCatalog(fakeD1());
    const settings = { ...DEFAULT_SETTINGS, visibility: "private" } as const;
    for (const name of ["demo", "team-a", "team-b", "tea"]) {
      await catalog.add({ name, settings, owner: name === "tea" ? "ann" : null });
    }
    await catalog.add(entry("open"));
    await catalog.setMember("demo", "ann", "use");
    await catalog.setMember("team-a", "ben", "manage");
    const listed = async (who: object) =>
      (await catalog.list({ ...ANYBODY, ...who })).map(({ name }) => name);
    expect(await listed({ userId: "ann" })).toEqual(["demo", "open", "tea"]);
    expect(await listed({ userId: "ben" })).toEqual(["open", "team-a"]);
    expect(await listed({ userId: "cleo" })).toEqual(["open"]);
    // A token opens what it names, and not what its user was given.
    expect(await listed({ userId: "ann", spaces: ["team-*"] })).toEqual([
      "open",
      "team-a",
      "team-b",
    ]);
    expect(await listed({ userId: "ann", spaces: [] })).toEqual(["open"]);
    expect(await listed({ userId: "ann", spaces: ["*"] })).toHaveLength(5);
    await catalog.setMember("demo", "ann", null);
    await catalog.update({ name: "tea", settings, owner: "ben" });
    expect(await listed({ userId: "ann" })).toEqual(["open"]);
    expect(await listed({ userId: "ben" })).toEqual(["open", "tea", "team-a"]);
  });

  it("begins with one's own if that is asked for, and its pages have every space once", async () => {
    const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,3}$/);
    const relation = fc.constantFrom("owner", "member", "public", "private");
    const spaces = fc.uniqueArray(fc.record({ name, relation }), { selector: (one) => one.name });
    await fc.assert(
      fc.asyncProperty(spaces, fc.integer({ min: 1, max: 4 }), async (made, limit) => {
        const catalog = new SpaceCatalog(fakeD1());
        for (const { name, relation } of made) {
          const visibility = relation === "public" ? "public" : "private";
          await catalog.add({
            ...entry(name, { visibility }),
            owner: relation === "owner" ? "ann" : null,
          });
          if (relation === "member") await catalog.setMember(name, "ann", "use");
        }
        const found: string[] = [];
        const asked = { all: false, userId: "ann", spaces: null, order: "mine", limit } as const;
        for (let cursor: string | null = ""; cursor !== null; ) {
          const page = await readSpacePage(catalog, { ...asked, cursor });
          found.push(...page.entries.map((one) => one.name));
          expect(page.entries.length).toBe(page.next === null ? page.entries.length : limit);
          cursor = page.next;
        }
        const named = (...relations: string[]) =>
          made
            .filter((one) => relations.includes(one.relation))
            .map((one) => one.name)
            .sort();
        expect(found).toEqual([...named("owner", "member"), ...named("public")]);
      }),
      { numRuns: 40 },
    );
  });

  it("of a token, and of nobody, is in the order of names whatever is asked for", async () => {
    const catalog = new SpaceCatalog(fakeD1());
    for (const name of ["a", "b"])
      await catalog.add({ ...entry(name), owner: name === "b" ? "ann" : null });
    for (const who of [
      { userId: "ann", spaces: ["b"] },
      { userId: null, spaces: null },
    ]) {
      const asked = { all: false, ...who, order: "mine", cursor: "", limit: 10 } as const;
      const { entries } = await readSpacePage(catalog, asked);
      expect(entries.map(({ name }) => name)).toEqual(["a", "b"]);
    }
  });

  it("gives spaces of before to the first admin, and nobody more spaces than they may own", async () => {
    const catalog = new SpaceCatalog(fakeD1());
    await catalog.add(entry("old"));
    await catalog.add({ ...entry("bens"), owner: "ben" });
    expect(await catalog.adoptAll("ann")).toEqual(["old"]);
    expect([await catalog.ownerOf("old"), await catalog.ownerOf("bens")]).toEqual(["ann", "ben"]);
    expect(await catalog.add({ ...entry("more"), owner: "ben" }, 2)).toBe("added");
    expect(await catalog.add({ ...entry("most"), owner: "ben" }, 2)).toBe("too_many");
    expect(await catalog.add({ ...entry("old"), owner: "cleo" }, 2)).toBe("exists");
    expect(await catalog.countOf("ben")).toBe(2);
    // The members of a deleted space are not those of the next one of its name.
    await catalog.setMember("more", "cleo", "use");
    await catalog.beginDelete("more");
    await catalog.endDelete("more");
    await catalog.add({ ...entry("more", { visibility: "private" }), owner: "ann" });
    expect(await catalog.list({ ...ANYBODY, userId: "cleo" })).toHaveLength(2);
  });
});

describe("the name of a space that is being deleted", () => {
  it("is free for another space, which the end of the deletion leaves alone", async () => {
    const catalog = new SpaceCatalog(fakeD1());
    await catalog.add(entry("a", { title: "old" }));
    await catalog.beginDelete("a");
    expect(await catalog.add(entry("a", { title: "new" }))).toBe("added");
    expect(await catalog.add(entry("a", { title: "third" }))).toBe("exists");
    await catalog.endDelete("a");
    expect(await catalog.get("a")).toEqual(entry("a", { title: "new" }));
  });
});

describe("the token of a worker", () => {
  it("opens its own space and no other, and is never stored (W2)", async () => {
    const db = fakeD1();
    const tokens = new WorkerTokens(db);
    const minted = await tokens.mint("a", "box");
    expect(minted).toEqual({
      id: expect.any(String),
      space: "a",
      name: "box",
      created_at: new Date(START).toISOString(),
      last_used_at: null,
      token: expect.stringMatching(/^dow_[\w-]{43}$/),
    });
    const token = minted.token ?? "";
    expect(await tokens.verify("a", token)).toBe(minted.id);
    expect(await tokens.verify("b", token)).toBe(null);
    expect(await tokens.verify("a", `${token}x`)).toBe(null);
    const { results } = await db.prepare("SELECT * FROM worker_tokens").all();
    expect(JSON.stringify(results)).not.toContain(token.slice(4, 20));
  });

  it("is given to nobody if it can't be stored", async () => {
    const db = fakeD1();
    await db.prepare("DROP TABLE worker_tokens").run();
    await expect(new WorkerTokens(db).mint("a", "box")).rejects.toThrow("no such table");
  });

  it("shows when it was made and last used, but not itself; the oldest first (H4)", async () => {
    const tokens = new WorkerTokens(fakeD1());
    const { token, ...first } = await tokens.mint("a", "first");
    await pass(1_000);
    const { token: _, ...second } = await tokens.mint("a", "second");
    await tokens.mint("b", "other");
    await pass(1_000);
    await tokens.verify("b", token ?? "");
    expect(await tokens.list("a")).toEqual([first, second]);
    await tokens.verify("a", token ?? "");
    const last_used_at = new Date(START + 2_000).toISOString();
    expect(await tokens.list("a")).toEqual([{ ...first, last_used_at }, second]);
  });

  it("opens nothing once it was revoked, in its own space (H4)", async () => {
    const tokens = new WorkerTokens(fakeD1());
    const kept = await tokens.mint("a", "kept");
    const revoked = await tokens.mint("a", "revoked");
    expect(await tokens.revoke("b", revoked.id)).toBe(false);
    expect(await tokens.verify("a", revoked.token ?? "")).toBe(revoked.id);
    expect(await tokens.revoke("a", revoked.id)).toBe(true);
    expect(await tokens.revoke("a", revoked.id)).toBe(false);
    expect(await tokens.verify("a", revoked.token ?? "")).toBe(null);
    expect(await tokens.verify("a", kept.token ?? "")).toBe(kept.id);
  });
});
