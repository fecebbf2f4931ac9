import { describe, expect, test } from "vitest";
import {
  announcementOf,
  isAnnouncement,
  sendingFrame,
  transferMs,
} from "../../src/protocol/announcement.ts";

describe("an announcement", () => {
  test.each([
    ["x".repeat(65_536), null],
    ["x".repeat(65_537), 65_537],
    ["é".repeat(32_768), null],
    ["é".repeat(32_769), 65_538],
  ])("counts bytes, and is made only for large messages (C17)", (message, bytes) => {
    const announcement = announcementOf(message);
    expect(announcement === null ? null : sendingFrame.parse(JSON.parse(announcement)).bytes).toBe(
      bytes,
    );
    if (announcement !== null) expect(isAnnouncement(announcement)).toBe(true);
    expect(isAnnouncement(message)).toBe(false);
  });

  test("makes whoever waits patient in proportion, within bounds (C17a, W34a)", () => {
    expect(transferMs(409_600)).toBe(100_000);
    expect(transferMs(Number.MAX_SAFE_INTEGER)).toBe(256_000);
  });
});
