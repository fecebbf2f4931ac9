/** The part of a file that a request asks for, as R2 takes it. */
export interface BytePart {
  offset: number;
  length: number;
}

/**
 * Reads a `Range` header for a file of `size` bytes.
 *
 * @returns `null` if the whole file is to be sent: there is no range, it can't be read, or there are several, which a
 * server may ignore (RFC 9110, 14.2); `"unsatisfiable"` if the file has no such bytes
 */
export function partOf(range: string | undefined, size: number): BytePart | null | "unsatisfiable" {
  const match = /^bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*$/i.exec(range ?? "");
  if (!match) return null;
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return null;
  if (first === "") {
    const length = Math.min(Number(last), size);
    return length === 0 ? "unsatisfiable" : { offset: size - length, length };
  }
  const offset = Number(first);
  if (last !== "" && Number(last) < offset) return null;
  if (offset >= size) return "unsatisfiable";
  const end = last === "" ? size : Math.min(size, Number(last) + 1);
  return { offset, length: end - offset };
}
