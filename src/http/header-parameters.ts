import { Buffer } from "node:buffer";

/** A header such as `form-data; name="a"; filename=b.png`. */
export interface ParameterHeader {
  /** What stands before the first `;`, in lower case. */
  value: string;
  /** By name, in lower case. */
  parameters: ReadonlyMap<string, string>;
}

/** Reads a header with parameters, quoted or not; `null` if it is malformed or names a parameter twice. */
export function parseParameters(header: string): ParameterHeader | null {
  const [before = ""] = header.split(";", 1);
  const rest = header.slice(before.length).trimEnd();
  const parameters = new Map<string, string>();
  let end = 0;
  for (const match of rest.matchAll(PARAMETER)) {
    end = match.index + match[0].length;
    const [, name, quoted, verbatim, bare = ""] = match;
    if (name === undefined) continue;
    if (parameters.has(name.toLowerCase())) return null;
    const text = quoted?.replace(/\\(["\\])/g, "$1") ?? verbatim ?? bare.trim();
    parameters.set(name.toLowerCase(), text);
  }
  return end === rest.length ? { value: before.trim().toLowerCase(), parameters } : null;
}

/**
 * One parameter: its name, and its value in one of three ways. In quotes where `\"` is a quote and `\\` a
 * backslash; in quotes where a backslash is a backslash, because browsers send `"C:\temp\"` like that; or
 * without quotes. A lone `;` is allowed.
 */
const PARAMETER =
  /\s*;\s*(?:([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"(?=\s*(?:;|$))|"([^"]*)"(?=\s*(?:;|$))|([^";]*)))?/gsy;

/**
 * Reads a parameter in which a form names a field or a file, in the ways in which clients write characters
 * that a header can't have: as `name*=UTF-8''%C3%A9` (RFC 8187), as browsers do (`%22` for a quote), or as .NET
 * does (`=?utf-8?B?…?=`).
 */
export function nameParameter({ parameters }: ParameterHeader, name: string): string | null {
  const extended = parameters.get(`${name}*`) ?? continued(parameters, name);
  const decoded = extended === undefined ? null : extendedText(extended);
  const plain = parameters.get(name);
  if (decoded !== null || plain === undefined) return decoded ?? extended ?? null;
  const word = /^=\?utf-8\?b\?([\w+/=]*)\?=$/i.exec(plain);
  if (word?.[1] !== undefined) return Buffer.from(word[1], "base64").toString("utf8");
  return plain.replace(/%(22|0D|0A)/gi, decodeURIComponent);
}

/**
 * A name that a writer of mails has split up: `filename*0*=UTF-8''%C3%A9; filename*1=".png"` (RFC 2231). It is
 * put together to one of RFC 8187; `undefined` if there is none.
 */
function continued(parameters: ReadonlyMap<string, string>, name: string): string | undefined {
  let pieces = "";
  let isEncoded = false;
  for (let number = 0; ; number += 1) {
    const plain = parameters.get(`${name}*${number}`);
    const encoded = parameters.get(`${name}*${number}*`);
    const piece = encoded ?? (plain === undefined ? undefined : encodeURIComponent(plain));
    if (piece === undefined) break;
    if (number === 0) isEncoded = encoded !== undefined;
    pieces += piece;
  }
  if (pieces === "") return undefined;
  return isEncoded ? pieces : `UTF-8''${pieces}`;
}

function extendedText(text: string): string | null {
  const [, charset = "", encoded = ""] = /^([\w-]+)'[^']*'(.*)$/s.exec(text) ?? [];
  switch (charset.toLowerCase()) {
    case "utf-8":
      return percentDecoded(encoded);
    case "iso-8859-1":
      return encoded.replace(/%([\da-f]{2})/gi, (_, hex) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      );
    default:
      return null;
  }
}

function percentDecoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Whether a `Content-Type` is that of JSON. */
export function isJsonType(contentType: string): boolean {
  return /^application\/(?:json|[\w.-]+\+json)\s*(?:;|$)/i.test(contentType.trim());
}

/** The charset that a `Content-Type` names, if its text is not UTF-8; otherwise `null`. ASCII is a part of UTF-8. */
export function foreignCharset(contentType: string): string | null {
  const charset = parseParameters(contentType)?.parameters.get("charset") ?? "utf-8";
  return /^(?:utf-?8|(?:us-)?ascii)$/i.test(charset) ? null : charset;
}
