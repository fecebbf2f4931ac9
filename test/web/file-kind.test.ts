import { describe, expect, test } from "vitest";
import type { JobEvent } from "../../src/client/job-channel.ts";
import { fileKind, shownText, TEXT_BYTES } from "../../src/web/file-kind.ts";
import { applyJobEvent, applyResource, newJob } from "../../src/web/job-state.ts";
import { jobResource } from "../client/jobs.ts";

describe("what the page does with a file", () => {
  test.each([
    ["image/png", "image"],
    ["image/svg+xml", "other"],
    ["image/tiff", "other"],
    ["audio/wav", "audio"],
    ["audio/x-wav", "audio"],
    ["audio/ogg; codecs=opus", "audio"],
    ["video/mp4", "video"],
    ["video/x-msvideo", "other"],
    ["text/markdown", "text"],
    ["application/json", "text"],
    ["application/pdf", "other"],
    ["nonsense", "other"],
  ])("%s: %s", (content_type, kind) => {
    expect(fileKind({ content_type })).toBe(kind);
  });

  test("a long text ends with a mark, and not with half of a character", () => {
    expect(shownText("short", 5)).toBe("short");
    expect(shownText("long\ufffd", TEXT_BYTES + 1)).toBe("long\n…");
  });
});

describe("a job's files on the page", () => {
  const file = (name: string, url = "/1") => {
    return { name, content_type: "image/png", size: 1, sha256: name, url };
  };
  const event = (name: string, preview: boolean): JobEvent => ({
    type: "file",
    job_id: "demo.1",
    attempt: 1,
    file: file(name),
    preview,
    offset: 1,
    timestamp: "2026-11-29T00:00:00.000Z",
    position: "e:1",
  });

  test("get new addresses with the job, also after its end (H28a)", () => {
    const running = [event("a", false), event("p", true)].reduce(
      applyJobEvent,
      newJob("demo.1", "", { status: "attaching" }),
    );
    expect(running).toMatchObject({ outputs: [{ name: "a" }], preview: { name: "p" } });
    const resource = jobResource({ status: "completed", outputs: [file("a", "/2")] });
    const ended = applyResource(running, resource);
    expect(ended).toMatchObject({ outputs: [{ url: "/2" }], preview: null });
    const again = applyResource(ended, { ...resource, outputs: [file("a", "/3")] });
    expect(again.outputs).toMatchObject([{ url: "/3" }]);
  });
});
