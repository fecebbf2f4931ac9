import type { Json, JsonObject } from "../protocol/codec.ts";
import type { EventFilter } from "../protocol/room-frames.ts";

/** Whether a subscriber with this filter is sent the event; without one it is sent every event. */
export function wants(
  filter: EventFilter | null,
  event: { type: string; data: JsonObject },
): boolean {
  if (filter === null) return true;
  const { types, where } = filter;
  if (types && !types.some((type) => isOfType(event.type, type))) return false;
  return Object.entries(where ?? {}).every(([path, asked]) => {
    const value = valueAt(event.data, path);
    return Array.isArray(asked) ? asked.some((one) => one === value) : asked === value;
  });
}

/** `project.*` stands for every type that begins with `project.`. */
function isOfType(type: string, asked: string): boolean {
  return asked.endsWith("*") ? type.startsWith(asked.slice(0, -1)) : type === asked;
}

/** A field that is not there has no value, and equals none. */
function valueAt(data: JsonObject, path: string): Json | undefined {
  let value: Json | undefined = data;
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    value = Object.hasOwn(value, name) ? value[name] : undefined;
  }
  return value;
}
