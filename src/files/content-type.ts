/** How many bytes at the beginning of a file are looked at. */
export const SNIFFED_BYTES = 4_096;

export const UNKNOWN_TYPE = "application/octet-stream";

/**
 * The type of a file as its first bytes show it. What was declared counts only if the bytes agree, or if nothing could
 * tell: a type is a promise to whoever opens the file.
 *
 * @param head the file's first bytes, `SNIFFED_BYTES` of them or all there are
 * @param declared as it was sent, such as `text/csv; charset=utf-8`; `null` if nothing was
 */
export function contentTypeOf(head: Uint8Array, declared: string | null): string {
  const sent = TYPE.test(declared ?? "") ? (declared ?? "").trim() : UNKNOWN_TYPE;
  const essence = essenceOf(sent);
  const found = signatureOf(head);
  if (found !== null) return found.others.test(essence) ? sent : found.type;
  if (!isText(head)) return isBinary(essence) ? sent : UNKNOWN_TYPE;
  return isTextual(essence) ? sent : "text/plain";
}

/** A type without its parameters, in lower case. */
export function essenceOf(type: string): string {
  return (type.split(";", 1)[0] ?? "").trim().toLowerCase();
}

/** A type with parameters that can stand in a header. */
const TYPE = /^\s*[\w.+!#$&^-]{1,80}\/[\w.+!#$&^-]{1,80}(\s*;[\x20-\x7e]{0,120})?$/;

interface Signature {
  type: string;
  /** Which declared types are the same to these bytes, or say more. */
  others: RegExp;
  /** Hexadecimal digits at the beginning; `.` stands for any. */
  bytes: string;
  /** Where they are; 0 if not given. */
  at?: number;
}

const NONE = /^$/;

/** The first that fits counts. The numbers are those of the formats' own specifications. */
const SIGNATURES: readonly Signature[] = [
  { type: "image/png", others: /^image\/(png|apng)$/, bytes: "89504e470d0a1a0a" },
  { type: "image/jpeg", others: NONE, bytes: "ffd8ff" },
  { type: "image/gif", others: NONE, bytes: "47494638" },
  { type: "image/webp", others: NONE, bytes: "52494646........57454250" },
  { type: "audio/wav", others: /^audio\/(x-|vnd\.)?wave?$/, bytes: "52494646........57415645" },
  { type: "video/x-msvideo", others: /^video\/avi$/, bytes: "52494646........41564920" },
  { type: "image/avif", others: NONE, bytes: "6674797061766966", at: 4 },
  { type: "image/avif", others: NONE, bytes: "6674797061766973", at: 4 },
  { type: "image/heic", others: /^image\/hei[cf]/, bytes: "667479706865", at: 4 },
  { type: "image/heif", others: /^image\/hei[cf]/, bytes: "667479706d696631", at: 4 },
  { type: "audio/mp4", others: /^audio\/(x-m4a|m4a|aac)$/, bytes: "667479704d3441", at: 4 },
  { type: "video/quicktime", others: NONE, bytes: "6674797071742020", at: 4 },
  {
    type: "video/mp4",
    others: /^(audio|video)\/(mp4|x-m4v|x-m4a|3gpp2?)$/,
    bytes: "66747970",
    at: 4,
  },
  { type: "video/webm", others: /^(audio|video)\/(webm|x-matroska|matroska)$/, bytes: "1a45dfa3" },
  {
    type: "audio/ogg",
    others: /^((audio|video|application)\/ogg|audio\/opus)$/,
    bytes: "4f676753",
  },
  { type: "audio/flac", others: /^audio\/x-flac$/, bytes: "664c6143" },
  { type: "audio/mpeg", others: /^audio\/(mp3|x-mp3|mpeg3)$/, bytes: "494433" },
  { type: "audio/aac", others: /^audio\/(x-aac|aacp)$/, bytes: "fff1" },
  { type: "audio/aac", others: /^audio\/(x-aac|aacp)$/, bytes: "fff9" },
  { type: "audio/mpeg", others: /^audio\/(mp3|x-mp3|mpeg3)$/, bytes: "fffb" },
  { type: "audio/mpeg", others: /^audio\/(mp3|x-mp3|mpeg3)$/, bytes: "fff3" },
  { type: "audio/mpeg", others: /^audio\/(mp3|x-mp3|mpeg3)$/, bytes: "fffa" },
  { type: "audio/mpeg", others: /^audio\/(mp3|x-mp3|mpeg3)$/, bytes: "fff2" },
  { type: "audio/midi", others: /^audio\/x-midi?$/, bytes: "4d546864" },
  { type: "video/mpeg", others: /^video\/mp(1|2)[ps]$/, bytes: "000001ba" },
  { type: "image/tiff", others: NONE, bytes: "49492a00" },
  { type: "image/tiff", others: NONE, bytes: "4d4d002a" },
  { type: "image/bmp", others: /^image\/x-ms-bmp$/, bytes: "424d........00000000" },
  { type: "image/x-icon", others: /^image\/vnd\.microsoft\.icon$/, bytes: "00000100" },
  { type: "image/jxl", others: NONE, bytes: "0000000c4a584c20" },
  { type: "application/pdf", others: NONE, bytes: "255044462d" },
  // Of these, many formats are made: documents, packages, models.
  {
    type: "application/zip",
    others: /^(application|model)\/(?!pdf$|xhtml|xml|.*script)/,
    bytes: "504b0304",
  },
  { type: "application/zip", others: /^application\/(x-)?zip/, bytes: "504b0506" },
  {
    type: "application/gzip",
    others: /^application\/(?!pdf$|xhtml|xml|.*script)/,
    bytes: "1f8b08",
  },
];

function signatureOf(head: Uint8Array): Signature | null {
  return SIGNATURES.find(({ bytes, at = 0 }) => hasBytes(head, bytes, at)) ?? null;
}

function hasBytes(head: Uint8Array, digits: string, at: number): boolean {
  if (head.length < at + digits.length / 2) return false;
  for (let index = 0; index < digits.length; index += 2) {
    const pair = digits.slice(index, index + 2);
    if (pair !== ".." && head[at + index / 2] !== Number.parseInt(pair, 16)) return false;
  }
  return true;
}

/** Whether the bytes can be text: UTF-8 without control characters but for those of lines, tabs and pages. */
function isText(head: Uint8Array): boolean {
  // A character may be cut at the end.
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
  let text: string;
  try {
    text = decoder.decode(head, { stream: head.length >= SNIFFED_BYTES });
  } catch {
    return false;
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these show that it is no text.
  return !/[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(text);
}

/** Whether a declared type is one of text. */
function isTextual(essence: string): boolean {
  return (
    essence.startsWith("text/") ||
    /[+/](json|xml|yaml)$/.test(essence) ||
    /^application\/(json-seq|x-ndjson|jsonl|javascript|ecmascript|x-yaml|toml|sql|x-subrip|x-sh|rtf|graphql)$/.test(
      essence,
    ) ||
    /^(image\/svg\+xml|model\/(obj|gltf\+json|step|stl)|application\/(x-)?tex)$/.test(essence)
  );
}

/** Whether a declared type is one of bytes that have no signature above. What is shown or played must have one. */
function isBinary(essence: string): boolean {
  return (
    /^(application|model|font|chemical)\//.test(essence) &&
    !isTextual(essence) &&
    !KNOWN.has(essence)
  );
}

const KNOWN = new Set([...SIGNATURES.map(({ type }) => type), "application/xhtml+xml"]);
