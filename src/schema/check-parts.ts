import type { Json, JsonObject } from "../protocol/codec.ts";
import {
  CHARACTERS_A_STEP,
  type Check,
  type CheckRun,
  fitsAll,
  type PartCheck,
} from "./check-run.ts";
import { counted, numberIn } from "./check-text.ts";
import type { Compiler } from "./compile.ts";
import { fieldOf, isObject, valueKey } from "./json-kind.ts";
import { Pattern } from "./pattern.ts";

/** The check of the keywords about lists; `null` if there are none. */
export function arrayCheck(schema: JsonObject, compiler: Compiler): Check | null {
  const checks = [
    countCheck(schema, "Items", "entry", (list: Json[]) => list.length),
    itemsCheck(schema, compiler),
    containsCheck(schema, compiler),
    fieldOf(schema, "uniqueItems") === true ? areDifferent : null,
  ].filter((check) => check !== null);
  if (checks.length === 0) return null;
  return (value, run) => !Array.isArray(value) || fitsAll(checks, value, run);
}

function countCheck<T>(
  schema: JsonObject,
  of: "Items" | "Properties",
  what: string,
  countOf: (value: T) => number,
): PartCheck<T> | null {
  const least = numberIn(schema, `min${of}`);
  const most = numberIn(schema, `max${of}`);
  if (least === null && most === null) return null;
  return (value, run) => {
    const count = countOf(value);
    if (most !== null && count > most) return run.fail(`must have ${counted(most, what)} at most`);
    if (least === null || count >= least) return true;
    return run.fail(
      least === 1 ? "must not be empty" : `must have ${counted(least, what)} or more`,
    );
  };
}

function itemsCheck(schema: JsonObject, compiler: Compiler): PartCheck<Json[]> | null {
  const prefix = fieldOf(schema, "prefixItems");
  const items = fieldOf(schema, "items");
  if (prefix === undefined && items === undefined) return null;
  const first = Array.isArray(prefix) ? prefix.map((part) => compiler.compile(part)) : [];
  const others = items === undefined ? null : compiler.compile(items);
  return (list, run) => {
    let fits = true;
    const end = others === null ? Math.min(first.length, list.length) : list.length;
    for (let index = 0; index < end; index += 1) {
      const check = first[index] ?? others;
      if (check === null) continue;
      if (run.within(index, list[index] as Json, check)) continue;
      fits = false;
      if (run.isDone) break;
    }
    return fits;
  };
}

function containsCheck(schema: JsonObject, compiler: Compiler): PartCheck<Json[]> | null {
  const contains = fieldOf(schema, "contains");
  if (contains === undefined) return null;
  const check = compiler.compile(contains);
  const least = numberIn(schema, "minContains") ?? 1;
  const most = numberIn(schema, "maxContains");
  return (list, run) => {
    const found = list.filter((item) => run.tries(item, check)).length;
    if (found < least) return run.fail("lacks an entry that must be in it");
    return most === null || found <= most || run.fail("has too many entries of one kind");
  };
}

/** In the time of reading it once: comparing each entry with each other would take hours for a long list. */
const areDifferent: PartCheck<Json[]> = (list, run) => {
  const keys = new Set<string>();
  for (const item of list) {
    const key = valueKey(item);
    run.spend(1 + key.length / CHARACTERS_A_STEP);
    keys.add(key);
  }
  return keys.size === list.length || run.fail("must not have the same entry twice");
};

/** The check of the keywords about objects; `null` if there are none. */
export function objectCheck(schema: JsonObject, compiler: Compiler): Check | null {
  const checks = [
    requiredCheck(schema),
    countCheck(schema, "Properties", "field", (object: JsonObject) => Object.keys(object).length),
    propertiesCheck(schema, compiler),
    namesCheck(schema, compiler),
    ...dependentChecks(schema, compiler),
  ].filter((check) => check !== null);
  if (checks.length === 0) return null;
  return (value, run) => !isObject(value) || fitsAll(checks, value, run);
}

function requiredCheck(schema: JsonObject): PartCheck<JsonObject> | null {
  const required = fieldOf(schema, "required");
  if (!Array.isArray(required) || required.length === 0) return null;
  return (object, run) => areThere(required.map(String), object, run);
}

const isMissing: Check = (_value, run) => run.fail("is missing");
const isMisnamed: Check = (_value, run) => run.fail("has a name that is not allowed");

function areThere(names: readonly string[], object: JsonObject, run: CheckRun): boolean {
  let fits = true;
  for (const name of names) {
    if (Object.hasOwn(object, name)) continue;
    fits = false;
    run.within(name, null, isMissing);
    if (run.isDone) break;
  }
  return fits;
}

function propertiesCheck(schema: JsonObject, compiler: Compiler): PartCheck<JsonObject> | null {
  const properties = new Map(
    entriesIn(schema, "properties").map(([name, part]) => [name, compiler.compile(part)] as const),
  );
  const patterns = entriesIn(schema, "patternProperties").map(([source, part]) => {
    return { pattern: new Pattern(source), check: compiler.compile(part) };
  });
  const additional = fieldOf(schema, "additionalProperties");
  const others = additional === undefined ? null : compiler.compile(additional);
  if (properties.size + patterns.length === 0 && others === null) return null;
  const checkOf = (name: string, run: CheckRun): Check | null => {
    const named = properties.get(name);
    if (patterns.length === 0) return named ?? others;
    const matching = patterns.filter(({ pattern }) => pattern.matches(name, run.spend));
    const checks = [...(named ? [named] : []), ...matching.map(({ check }) => check)];
    return checks.length === 0 ? others : (value, run) => fitsAll(checks, value, run);
  };
  return (object, run) => {
    let fits = true;
    for (const name of Object.keys(object)) {
      run.spend(1);
      const check = checkOf(name, run);
      const value = object[name] as Json;
      if (check === null || run.within(name, value, check)) continue;
      fits = false;
      if (run.isDone) break;
    }
    return fits;
  };
}

function namesCheck(schema: JsonObject, compiler: Compiler): PartCheck<JsonObject> | null {
  const names = fieldOf(schema, "propertyNames");
  if (names === undefined) return null;
  const check = compiler.compile(names);
  return (object, run) => {
    const wrong = Object.keys(object).find((name) => !run.tries(name, check));
    return wrong === undefined || run.within(wrong, null, isMisnamed);
  };
}

function dependentChecks(schema: JsonObject, compiler: Compiler): PartCheck<JsonObject>[] {
  const required = entriesIn(schema, "dependentRequired").map(([name, names]) => {
    const needed = Array.isArray(names) ? names.map(String) : [];
    return (object: JsonObject, run: CheckRun) =>
      !Object.hasOwn(object, name) || areThere(needed, object, run);
  });
  const schemas = entriesIn(schema, "dependentSchemas").map(([name, part]) => {
    const check = compiler.compile(part);
    return (object: JsonObject, run: CheckRun) =>
      !Object.hasOwn(object, name) || check(object, run);
  });
  return [...required, ...schemas];
}

function entriesIn(schema: JsonObject, name: string): [string, Json][] {
  const value = fieldOf(schema, name);
  return isObject(value) ? Object.entries(value) : [];
}
