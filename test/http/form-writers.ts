/** Writes forms as programs do that are much used, so that tests don't read forms with the code that wrote them. */
import { Buffer } from "node:buffer";

export interface SentPart {
  name: string;
  /** The file's name; a part without one is text. */
  fileName?: string;
  type?: string;
  content: Uint8Array;
}

export interface SentForm {
  contentType: string;
  body: Uint8Array<ArrayBuffer>;
}

export type FormWriter = (parts: readonly SentPart[]) => SentForm;

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

function percent(text: string): string {
  return text.replace(/["\r\n]/g, (char) => ({ '"': "%22", "\r": "%0D", "\n": "%0A" })[char] ?? "");
}

function backslashes(text: string): string {
  return text
    .replace(/["\\]/g, (char) => `\\${char}`)
    .replace(/[\r\n]/g, (char) => (char === "\r" ? "%0D" : "%0A"));
}

function inQuotes(encode: (text: string) => string) {
  return ({ name, fileName }: SentPart) =>
    `form-data; name="${encode(name)}"${fileName === undefined ? "" : `; filename="${encode(fileName)}"`}`;
}

/** A token as it is, other ASCII in quotes, anything else as a word of MIME. */
function dotNetParameter(name: string, text: string): string {
  if (TOKEN.test(text)) return `${name}=${text}`;
  const isAscii = /^[ -~]*$/.test(text);
  const quoted = isAscii
    ? backslashes(text)
    : `=?utf-8?B?${Buffer.from(text).toString("base64")}?=`;
  return `${name}="${quoted}"`;
}

function dotNetDisposition({ name, fileName }: SentPart): string {
  const field = `form-data; ${dotNetParameter("name", name)}`;
  if (fileName === undefined) return field;
  return `${field}; ${dotNetParameter("filename", fileName)}; filename*=utf-8''${encodeURIComponent(fileName)}`;
}

interface Style {
  boundary: string;
  contentType: (boundary: string) => string;
  disposition: (part: SentPart) => string;
  /** The type that it gives a text part. */
  textType?: string;
  typeFirst?: boolean;
  before?: string;
  after?: string;
}

function writer(style: Style): FormWriter {
  return (parts) => {
    const { boundary, before = "", after = "\r\n" } = style;
    const pieces = parts.flatMap((part) => {
      const type = part.fileName === undefined ? style.textType : (part.type ?? "image/png");
      const headers = [
        `Content-Disposition: ${style.disposition(part)}\r\n`,
        type === undefined ? "" : `Content-Type: ${type}\r\n`,
      ];
      if (style.typeFirst) headers.reverse();
      return [`--${boundary}\r\n${headers.join("")}\r\n`, part.content, "\r\n"];
    });
    const all = [before, ...pieces, `--${boundary}--${after}`];
    const body = Buffer.concat(all.map((piece) => Buffer.from(piece as string)));
    return { contentType: style.contentType(boundary), body: new Uint8Array(body) };
  };
}

const plainType = (boundary: string) => `multipart/form-data; boundary=${boundary}`;

export const FORM_WRITERS: Record<string, FormWriter> = {
  curl: writer({
    boundary: "------------------------d74496d66958873e",
    contentType: plainType,
    disposition: inQuotes(percent),
  }),
  "an old curl": writer({
    boundary: "----------------------------83ff53821b7c",
    contentType: plainType,
    disposition: inQuotes(backslashes),
  }),
  "a browser": writer({
    boundary: "----WebKitFormBoundary7MA4YWxkTrZu0gW",
    contentType: plainType,
    disposition: inQuotes(percent),
  }),
  ".NET": writer({
    boundary: "9c0f8d6a-3f0e-4a55-9a7c-0c1f5d2e7b11",
    contentType: (boundary) => `multipart/form-data; boundary="${boundary}"`,
    disposition: dotNetDisposition,
    textType: "text/plain; charset=utf-8",
    typeFirst: true,
  }),
  "Python requests": writer({
    boundary: "6b70e1b4e0a14f1e9d8b5b8e7a1f6c3d",
    contentType: plainType,
    disposition: inQuotes(percent),
  }),
  "Python httpx": writer({
    boundary: "e1b4e0a14f1e9d8b5b8e7a1f6c3d6b70",
    contentType: plainType,
    disposition: inQuotes((text) => percent(text.replaceAll("\\", "\\\\"))),
  }),
  Go: writer({
    boundary: "8d7b0e5d8c4f",
    contentType: plainType,
    disposition: inQuotes(backslashes),
  }),
  "a program that knows RFC 2046": writer({
    boundary: "a boundary'()+_,-./:=?z",
    contentType: (boundary) => `Multipart/Form-Data ; Charset=UTF-8; Boundary="${boundary}"`,
    disposition: ({ name, fileName }) =>
      `Form-Data ;NAME*=UTF-8'en'${encodeURIComponent(name)}${
        fileName === undefined ? "" : ` ; FileName*=utf-8''${encodeURIComponent(fileName)}`
      }`,
    before: "This is a form.\r\n--a bound\r\n",
    after: "\r\nThis was a form.\r\n--a boundary'()+_,-./:=?z\r\n\r\n",
  }),
};
