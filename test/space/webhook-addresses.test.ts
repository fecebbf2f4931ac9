import dns from "node:dns/promises";
import { syncBuiltinESMExports } from "node:module";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { deliveries, endJobs, receivers, sendToReceivers } from "./receivers.ts";
import { SpaceHost } from "./space-host.ts";

// Not with `vi.mock`: another file of this process may have loaded what looks names up.
beforeEach(() => {
  vi.spyOn(dns, "resolve4").mockImplementation(async (host: string): Promise<never> => {
    return [host === "inside.example" ? "10.0.0.1" : "8.8.8.8"] as never;
  });
  vi.spyOn(dns, "resolve6").mockRejectedValue(new Error("no such record"));
  syncBuiltinESMExports();
});
afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

runInFakeRuntime();
sendToReceivers();

describe("an edge that is public", () => {
  it("sends messages to names that lead to public addresses, and to no others (H14f)", async () => {
    const space = await SpaceHost.make(
      { offline: "queue" },
      { PUBLIC_URL: "https://edge.example" },
    );
    const [outside = "", inside = ""] = await endJobs(space, [
      "https://outside.example/hook",
      "https://inside.example/hook",
    ]);
    await pass(50);
    expect(receivers.calls.map(({ url }) => url)).toEqual(["https://outside.example/hook"]);
    expect(await deliveries(space, outside)).toMatchObject([{ status: "delivered" }]);
    expect(await deliveries(space, inside)).toMatchObject([
      { status: "pending", attempts: 1, error: "The address resolves to a private one." },
    ]);
  });
});
