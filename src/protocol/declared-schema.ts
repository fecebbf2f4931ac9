import { z } from "zod";
import { jsonObject } from "./values.ts";

/**
 * What a worker says of its jobs when it registers: JSON Schemas (2020-12) of their input and their result. The schema
 * of the input has `"type": "object"`. Which keywords there are: W35 in docs/protocol.md.
 */
export const declaredSchema = z.strictObject({
  input: jsonObject.optional(),
  output: jsonObject.optional(),
});
export type DeclaredSchema = z.infer<typeof declaredSchema>;
