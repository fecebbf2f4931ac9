import type { Json, JsonObject } from "../protocol/codec.ts";
import type { Check, CheckRun } from "./check-run.ts";
import { choiceCheck, describeTypes, hasType } from "./check-value.ts";
import type { Compiler } from "./compile.ts";
import { fieldOf, isObject } from "./json-kind.ts";

/** The checks of the keywords that hold other schemas against the same value. */
export function waysCheck(schema: JsonObject, compiler: Compiler): Check[] {
  const { allOf } = schema;
  return [
    ...(Array.isArray(allOf) ? allOf.map((part) => compiler.compile(part)) : []),
    alternatives(schema, "anyOf", compiler),
    alternatives(schema, "oneOf", compiler),
    notCheck(schema, compiler),
    conditionCheck(schema, compiler),
  ].filter((check) => check !== null);
}

/** One of several schemas. `types`: what a value must be so that it is meant; `null`: anything. */
interface Way {
  check: Check;
  types: ReadonlySet<string> | null;
}

function alternatives(
  schema: JsonObject,
  name: "anyOf" | "oneOf",
  compiler: Compiler,
): Check | null {
  const parts = fieldOf(schema, name);
  if (!Array.isArray(parts)) return null;
  const constants = parts.map(constantOf);
  if (constants.every((constant) => constant !== undefined)) return choiceCheck(constants);
  const ways = parts.map((part) => ({ check: compiler.compile(part), types: typesOf(part) }));
  return (value, run) => {
    let fitting = 0;
    for (const { check } of ways) {
      if (!run.tries(value, check)) continue;
      fitting += 1;
      if (name === "anyOf" || fitting > 1) break;
    }
    if (fitting === 1) return true;
    return fitting > 1
      ? run.fail("fits several alternatives, and must fit one")
      : explain(ways, value, run);
  };
}

/** Says what is wrong with the alternative that was meant, if the value's type shows which. */
function explain(ways: readonly Way[], value: Json, run: CheckRun): false {
  if (run.isDone) return false;
  const meant = ways.filter(({ types }) => types === null || hasType(value, types));
  const [only] = meant.length === 1 ? meant : ways.length === 1 ? ways : [];
  if (only === undefined) return run.fail(noneOf(ways, meant));
  only.check(value, run);
  return false;
}

function noneOf(ways: readonly Way[], meant: readonly Way[]): string {
  const types = ways.flatMap((way) => [...(way.types ?? [])]);
  if (meant.length === 0 && ways.every((way) => way.types !== null))
    return describeTypes(new Set(types));
  return `fits none of its ${ways.length} alternatives`;
}

/** The value that is all a schema takes, such as a choice with a title. */
function constantOf(schema: Json): Json | undefined {
  if (!isObject(schema)) return undefined;
  const asserts = Object.keys(schema).filter((name) => !DESCRIPTIONS.has(name));
  return asserts.length === 1 ? fieldOf(schema, "const") : undefined;
}

const DESCRIPTIONS = new Set(["title", "description", "deprecated", "$comment"]);

function typesOf(schema: Json): ReadonlySet<string> | null {
  const type = isObject(schema) ? fieldOf(schema, "type") : undefined;
  if (type === undefined) return null;
  return new Set((Array.isArray(type) ? type : [type]).map(String));
}

function notCheck(schema: JsonObject, compiler: Compiler): Check | null {
  const not = fieldOf(schema, "not");
  if (not === undefined) return null;
  const check = compiler.compile(not);
  return (value, run) => !run.tries(value, check) || run.fail("is not allowed");
}

function conditionCheck(schema: JsonObject, compiler: Compiler): Check | null {
  const condition = fieldOf(schema, "if");
  if (condition === undefined) return null;
  const check = compiler.compile(condition);
  const [fits, fails] = ["then", "else"].map((name) =>
    compiler.compile(fieldOf(schema, name) ?? true),
  );
  return (value, run) => {
    const branch = run.tries(value, check) ? fits : fails;
    return branch?.(value, run) ?? true;
  };
}
