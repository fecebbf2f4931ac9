import { parseParameters } from "./header-parameters.ts";

/**
 * A file's type as it was sent, with parameters such as those of `audio/webm;codecs=opus`; without them if they are
 * malformed; `application/octet-stream` if it is no type.
 */
export function fileTypeOf(sent: string | null): string {
  const [essence = ""] = (sent ?? "").split(";", 1);
  if (!/^[\w.+!#$&^-]{1,127}\/[\w.+!#$&^-]{1,127}$/.test(essence.trim())) {
    return "application/octet-stream";
  }
  const isWhole = sent !== null && /^[\x20-\x7e]{1,255}$/.test(sent) && parseParameters(sent);
  return isWhole ? sent : essence.trim();
}
