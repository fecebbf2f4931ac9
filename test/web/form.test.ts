import { expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DEFAULT_SETTINGS, type SpaceResource } from "../../src/protocol/resources.ts";
import { browserName } from "../../src/web/browser-name.ts";
import { checkDraft, labelOfDraft } from "../../src/web/draft.ts";
import { recallJobs, rememberJobs } from "../../src/web/job-memory.ts";
import { newJob } from "../../src/web/job-state.ts";
import { initialState, type PageState } from "../../src/web/page-state.ts";
import { formatBytes, formatSeconds, ordinal, pillOf, submitHint } from "../../src/web/wording.ts";

const file = (size: number) => ({ field: "file" as const, name: "cat.png", size });

test("an empty draft is not sent", () => {
  expect(checkDraft({ prompt: " ", files: [] }, DEFAULT_SETTINGS)?.message).toMatch(/prompt first/);
  const both = { ...DEFAULT_SETTINGS, enable_audio: true };
  expect(checkDraft({ prompt: "", files: [] }, both)?.message).toMatch(/prompt or choose a file/);
  const nothing = { ...DEFAULT_SETTINGS, enable_prompt: false };
  expect(checkDraft({ prompt: "", files: [] }, nothing)).toBeNull();
});

test("files over the limit are refused before they are sent, with both sizes", () => {
  const draft = { prompt: "", files: [file(LIMITS.resumableBytes + 1_073_741_824)] };
  expect(checkDraft(draft, DEFAULT_SETTINGS)?.message).toBe(
    "“cat.png” is 6 GB; 5 GB can be sent at most.",
  );
  expect(
    checkDraft({ prompt: "", files: [file(LIMITS.resumableBytes)] }, DEFAULT_SETTINGS),
  ).toBeNull();
});

test("a job's label is its prompt, or the names of its files", () => {
  expect(labelOfDraft({ prompt: " a story ", files: [file(1)] })).toBe("a story");
  expect(labelOfDraft({ prompt: "", files: [file(1)] })).toBe("cat.png");
});

test("the pill shows the worker's state, or the page's own state without a connection", () => {
  const state: PageState = {
    ...initialState([]),
    link: { kind: "open" },
    status: { worker: "reconnecting", queue_size: 0, processing: 0, estimated_wait_s: null },
  };
  expect(pillOf(state).text).toBe("Reconnecting — not connected");
  expect(pillOf({ ...state, link: { kind: "lost", reason: null } }).text).toBe(
    "Offline: trying to reach the edge",
  );
});

test("the form says what happens to a submit without a worker", () => {
  const status = { worker: "disconnected", queue_size: 0, processing: 0, estimated_wait_s: null };
  const state = { ...initialState([]), link: { kind: "open" }, status } as PageState;
  const space = (offline: "queue" | "refuse") =>
    ({ ...DEFAULT_SETTINGS, offline }) as SpaceResource;
  expect(submitHint(state, space("refuse"))).toMatch(/refuses jobs/);
  expect(submitHint(state, space("queue"))).toMatch(/waits in the queue/);
});

test("ordinals, times and sizes are written in plain English", () => {
  expect([1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal).join(" ")).toBe(
    "1st 2nd 3rd 4th 11th 12th 13th 21st 112th",
  );
  expect([0.2, 42, 60, 95, 3_600, 3_720].map(formatSeconds)).toEqual([
    "under 1 s",
    "42 s",
    "1 min",
    "1 min 35 s",
    "1 h",
    "1 h 2 min",
  ]);
  expect([70, 1_536, 16_777_216].map(formatBytes)).toEqual(["70 bytes", "1.5 KB", "16 MB"]);
});

test("a tab remembers each space's jobs separately, and tolerates unreadable data", () => {
  const stored = new Map<string, string>();
  const storage = {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => void stored.set(key, value),
  };
  rememberJobs(storage, "attic", [newJob("attic.1", "a story", { status: "attaching" })]);
  expect(recallJobs(storage, "attic")).toEqual([{ id: "attic.1", label: "a story" }]);
  expect(recallJobs(storage, "cellar")).toEqual([]);
  const link = newJob("barn.1", "", { status: "attaching" }, "dos_1");
  rememberJobs(storage, "barn", [link]);
  expect(recallJobs(storage, "barn")).toEqual([{ id: "barn.1", label: "", share: "dos_1" }]);
  stored.set("dialout.jobs.attic", "{broken");
  expect(recallJobs(storage, "attic")).toEqual([]);
});

test("a session is listed by its browser, and a program as it calls itself", () => {
  const linux = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)";
  expect(browserName(`${linux} Chrome/156.0.0.0 Safari/537.36`)).toBe("Chrome on Linux");
  expect(browserName(`${linux} Chrome/156.0.0.0 Safari/537.36 Edg/156.0`)).toBe("Edge on Linux");
  const phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15";
  expect(browserName(`${phone} Version/19.0 Mobile/15E148 Safari/604.1`)).toBe("Safari on iOS");
  expect(browserName("curl/8.5.0")).toBe("curl/8.5.0");
});
