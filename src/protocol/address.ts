import { z } from "zod";
import { backendJobId } from "./backend-jobs.ts";
import { jobId, spaceName } from "./values.ts";

/** The room that everyone is in; nobody keeps count of who. */
export const GLOBAL_ROOM = "global";

/** `global`, or `<kind>:<id>`; `space`, `job` and `room` are no kinds of rooms. An id may be any token's `sub`. */
export const roomName = z
  .string()
  .regex(
    /^(global|(?!(?:space|job|room):)[a-z][a-z0-9_-]{0,30}:[\w.@|-]{1,128})$/,
    "must be `global` or <kind>:<id>, such as project:42; a kind is lower case, an id has letters, digits and . _ - @ |",
  );

/** The address of something that can be followed: a room, a space or a job. */
export type Address =
  | { kind: "room"; name: string }
  | { kind: "space"; name: string }
  | { kind: "job"; id: string };

const jobAddress = z.union([jobId, backendJobId]);

/** Parses an address as clients write it; `null` if it isn't one. */
export function parseAddress(text: string): Address | null {
  const [, kind, rest = ""] = /^(space|job):(.+)$/.exec(text) ?? [];
  switch (kind) {
    case "space":
      return spaceName.safeParse(rest).success ? { kind, name: rest } : null;
    case "job":
      return jobAddress.safeParse(rest).success ? { kind, id: rest } : null;
    default:
      return roomName.safeParse(text).success ? { kind: "room", name: text } : null;
  }
}
