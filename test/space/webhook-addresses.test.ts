import { describe, expect, it, vi } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { deliveries, endJobs, receivers, sendToReceivers } from "./receivers.ts";
import { SpaceHost } from "./space-host.ts";

vi.mock("node:dns/promises", () => ({
  resolve4: async (host: string) => [host === "inside.example" ? "10.0.0.1" : "8.8.8.8"],
  resolve6: () => Promise.reject(new Error("no such record")),
}));

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
