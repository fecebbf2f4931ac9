import { describe, expect, test } from "vitest";
import { readEdgeAddress, whyNotAnAddress } from "../../worker-client/edge-address.ts";

describe("the address of an edge", () => {
  test.each([
    ["https://edge.example", "https://edge.example", null],
    ["http://127.0.0.1:8787/", "http://127.0.0.1:8787/", null],
    ["https://edge.example/spaces/demo", "https://edge.example", "demo"],
    ["https://edge.example/api/spaces/demo/jobs", "https://edge.example", "demo"],
    ["https://edge.example/api/spaces", "https://edge.example", null],
    ["https://edge.example/below/spaces/demo", "https://edge.example/below", "demo"],
    ["https://edge.example/spaces/Not%20a%20name", "https://edge.example", null],
    ["nonsense", "nonsense", null],
  ])("is read from %s", (given, url, space) => {
    expect(readEdgeAddress(given)).toEqual({ url, space });
  });

  test.each([
    ["https://edge.example", null],
    [" http://localhost:8787 ", null],
    ["wss://edge.example/x", "write https://edge.example/x instead of wss://edge.example/x."],
    ["ws://edge.example?token=secret", "write http://edge.example instead of ws://edge.example."],
    ["localhost:8787", "write http://localhost:8787 or https://localhost:8787."],
    ["edge.example/path", "write http://edge.example/path or https://edge.example/path."],
    ["/etc/passwd", 'not "/etc/passwd".'],
    ["", 'not "".'],
    ["ftp://edge.example", 'not "ftp://edge.example".'],
    ["https://me@edge.example", "must not contain a user and password"],
    ["https://:secret@edge.example", "must not contain a user and password"],
  ])("may be %s, or says what to write instead", (given, words) => {
    const why = whyNotAnAddress(given);
    if (words === null) expect(why).toBeNull();
    else expect(why).toContain(words);
    expect(why ?? "").not.toContain("secret");
  });
});
