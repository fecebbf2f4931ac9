import fc from "fast-check";
import { expect, test } from "vitest";
import { EventStreamReader } from "../../worker-client/adapters/local-server/server-sent-events.ts";

const line = fc.string({ unit: "binary" }).map((text) => text.replace(/[\r\n]/g, "."));
const event = fc.record({
  event: fc.constantFrom("message", "progress", "result"),
  lines: fc.array(line, { minLength: 1, maxLength: 4 }),
});

test("events come out as they were written, however the stream is cut and its lines end", () => {
  fc.assert(
    fc.property(
      fc.array(event),
      fc.constantFrom("\n", "\r\n", "\r"),
      fc.array(fc.nat(200)),
      (events, end, cuts) => {
        const text = events
          .map(({ event: name, lines }) => {
            const data = lines.map((each) => `data: ${each}${end}`).join("");
            return `: comment${end}event: ${name}${end}${data}${end}`;
          })
          .join("");
        const reader = new EventStreamReader();
        const read = [];
        let at = 0;
        for (const cut of [...cuts, text.length]) {
          read.push(...reader.push(text.slice(at, at + cut)));
          at += cut;
        }
        // A carriage return at the very end may still be followed by a line feed.
        read.push(...reader.push(end === "\r" ? "\n" : ""));
        expect(read).toEqual(
          events.map(({ event: name, lines }) => ({ event: name, data: lines.join("\n") })),
        );
      },
    ),
  );
});
