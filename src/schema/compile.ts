import type { Json, JsonObject } from "../protocol/codec.ts";
import { checkNumber } from "./check-number.ts";
import { arrayCheck, objectCheck } from "./check-parts.ts";
import { type Check, fitsAll } from "./check-run.ts";
import { checkText } from "./check-text.ts";
import { constantCheck, typeCheck } from "./check-value.ts";
import { waysCheck } from "./check-ways.ts";
import { resolve } from "./fields.ts";
import { fieldOf, isObject } from "./json-kind.ts";

/**
 * Makes checks of a schema that was taken (`readDeclared`), once for all values. Functions that call each other, because
 * the runtime lets nobody make code of text.
 */
export class Compiler {
  private readonly root: JsonObject;
  private readonly known = new Map<Json, Check>();

  constructor(root: JsonObject) {
    this.root = root;
  }

  compile(schema: Json): Check {
    if (schema === true) return () => true;
    if (!isObject(schema)) return (_value, run) => run.fail("is not known here: leave it out");
    const known = this.known.get(schema);
    if (known !== undefined) return known;
    // A schema may refer to itself.
    let made: Check | null = null;
    const check: Check = (value, run) => made?.(value, run) ?? true;
    this.known.set(schema, check);
    made = this.checkOf(schema);
    return check;
  }

  private checkOf(schema: JsonObject): Check {
    const { $ref } = schema;
    const hasType = typeCheck(fieldOf(schema, "type"));
    const checks = [
      constantCheck(schema),
      checkNumber(schema),
      checkText(schema),
      arrayCheck(schema, this),
      objectCheck(schema, this),
      typeof $ref === "string" ? this.compile(resolve($ref, this.root) ?? true) : null,
      ...waysCheck(schema, this),
    ].filter((check) => check !== null);
    return (value, run) => {
      run.enter();
      // What has another type has no other errors worth telling.
      const fits = (hasType === null || hasType(value, run)) && fitsAll(checks, value, run);
      run.leave();
      return fits;
    };
  }
}
