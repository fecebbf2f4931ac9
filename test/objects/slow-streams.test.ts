import { describe, expect, it } from "vitest";
import { isOver, makeJob, report, reportOk } from "./backend-jobs-support.ts";
import { call, type Frame } from "./support.ts";

/** Reads the stream to its end and returns its frames. */
async function readAll(response: Response): Promise<Frame[]> {
  const events = (await response.text()).split("\n\n");
  return events.flatMap((event) => {
    const data = event.match(/^data: (.*)$/m)?.[1];
    return data === undefined ? [] : [JSON.parse(data)];
  });
}

describe("a stream of events that nobody reads for a while", () => {
  it("has the newest progress with `skipped`, every piece of output, and the end (C12c)", async () => {
    const id = await makeJob();
    const stream = await call("GET", `/api/jobs/${id}/events`);
    const message = "x".repeat(2_000);
    for (let index = 1; index <= 10; index += 1) {
      const reports = Array.from({ length: 20 }, () => report(id, "progress", { message }));
      await Promise.all(reports);
      await reportOk(id, "output", { delta: index });
    }
    await reportOk(id, "complete");
    const [connection, , ...frames] = await readAll(stream);
    expect(connection).toMatchObject({ type: "connection", offset: 1 });
    let last = 1;
    for (const { offset, skipped = 0 } of frames) {
      expect(offset).toBe(last + 1 + Number(skipped));
      last = Number(offset);
    }
    expect(frames.some(({ skipped }) => Number(skipped) > 1)).toBe(true);
    expect(frames.filter(({ type }) => type === "output")).toHaveLength(10);
    expect(frames.filter(isOver)).toMatchObject([{ offset: 212 }]);
  });

  it("isn't cut off however much progress there is, and goes on from its reader's position (C12c, C8)", async () => {
    const id = await makeJob();
    const stream = await call("GET", `/api/jobs/${id}/events`);
    const message = "x".repeat(2_000);
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(Array.from({ length: 100 }, () => report(id, "progress", { message })));
    }
    await reportOk(id, "complete");
    const text = await stream.text();
    const [first] = text.match(/^id: .*$/gm)?.slice(1) ?? [];
    const headers = { "last-event-id": String(first).slice(4) };
    const [back, ...rest] = await readAll(
      await call("GET", `/api/jobs/${id}/events`, undefined, headers),
    );
    expect(back).toMatchObject({ type: "connection", recovered: true });
    expect(rest.map(({ offset }) => offset)).toEqual(
      rest.map((_, index) => Number(back?.offset) + 1 + index),
    );
    expect(rest.at(-1)).toMatchObject({ status: "completed", offset: 302 });
  });
});
