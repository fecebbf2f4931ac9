import type { Json, JsonObject } from "../protocol/codec.ts";
import { rounded } from "../protocol/exact-json.ts";
import type { EventFilter } from "../protocol/room-frames.ts";

/** Whether the event passes a subscriber's filter; without a filter (`null`) every event passes. */
export function wants(
  filter: EventFilter | null,
  event: { type: string; data: JsonObject },
): boolean {
  if (filter === null) return true;
  const { types, where } = filter;
  if (types && !types.some((type) => isOfType(event.type, type))) return false;
  return Object.entries(where ?? {}).every(([path, wanted]) => {
    const value = valueAt(event.data, path);
    return Array.isArray(wanted) ? wanted.some((option) => option === value) : wanted === value;
  });
}

/** `project.*` matches every type that begins with `project.`. */
function isOfType(type: string, wanted: string): boolean {
  return wanted.endsWith("*") ? type.startsWith(wanted.slice(0, -1)) : type === wanted;
}

/** The value at a path such as `owner.name`; `undefined`, which equals no JSON value, if it is missing. */
function valueAt(data: JsonObject, path: string): Json | undefined {
  let value: Json | undefined = data;
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    value = Object.hasOwn(value, name) ? value[name] : undefined;
  }
  return value === undefined ? undefined : rounded(value);
}
