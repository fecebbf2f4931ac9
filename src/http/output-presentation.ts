import { essenceOf, UNKNOWN_TYPE } from "../files/content-type.ts";
import type { Presentation } from "./stored-file.ts";

/** What a browser shows or plays without running anything in it. */
const SHOWN =
  /^(image\/(png|apng|jpeg|gif|webp|avif|bmp|x-icon|jxl|hei[cf]|tiff)|audio\/[\w.+-]+|video\/[\w.+-]+|text\/plain)$/;

/** What could run, or be taken for a page: it is only ever downloaded, as bytes. */
const ACTIVE = /(html|xml|script|svg|wasm|flash|java|x-sh|hta|mhtml|message\/)/;

/**
 * How an output file is answered. Its type was found out from its bytes when it was stored. Pages of other origins may
 * show it, too: whoever has its address may see it.
 */
export function presentOutput({ httpMetadata, customMetadata }: R2Object): Presentation {
  const type = httpMetadata?.contentType ?? UNKNOWN_TYPE;
  const essence = essenceOf(type);
  const disposition = SHOWN.test(essence) ? "inline" : "attachment";
  return {
    type: ACTIVE.test(essence) ? UNKNOWN_TYPE : typeOf(type, essence),
    disposition: `${disposition}; filename*=UTF-8''${customMetadata?.name ?? "file"}`,
    isShared: true,
  };
}

/** Text is UTF-8, as was found out when it was stored; without that word browsers guess. */
function typeOf(type: string, essence: string): string {
  return essence === "text/plain" ? "text/plain; charset=utf-8" : type;
}

/** A name as a header can have it (RFC 8187). */
export function headerName(name: string): string {
  return encodeURIComponent(name).replace(/['()*]/g, (mark) => {
    return `%${mark.charCodeAt(0).toString(16).toUpperCase()}`;
  });
}
