import { z } from "zod";

/** `global`, or `<kind>:<id>` with any kind but those that name something else. */
export const roomName = z
  .string()
  .regex(
    /^(global|(?!(?:space|job|room):)[a-z][a-z0-9_-]{0,30}:[\w.@-]{1,128})$/,
    "must be `global` or <kind>:<id>, such as project:42; a kind is lower case, an id has letters, digits and . _ - @",
  );

/** Whatever can be followed: a room, a space or a job. */
export type Address =
  | { kind: "room"; name: string }
  | { kind: "space"; name: string }
  | { kind: "job"; id: string };

const OTHERS = /^(space|job):(.{1,200})$/;

/** Reads an address as clients write it; `null` where it is none. */
export function parseAddress(text: string): Address | null {
  const [, kind, rest] = OTHERS.exec(text) ?? [];
  if (kind === "space" && rest) return { kind, name: rest };
  if (kind === "job" && rest) return { kind, id: rest };
  return roomName.safeParse(text).success ? { kind: "room", name: text } : null;
}
