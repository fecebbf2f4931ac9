/** The content types of files that models make, by the ends of their names. */
const TYPES: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  webp: "image/webp",
  gif: "image/gif",
  avif: "image/avif",
  wav: "audio/wav",
  mp3: "audio/mpeg",
  flac: "audio/flac",
  ogg: "audio/ogg",
  opus: "audio/ogg",
  mp4: "video/mp4",
  webm: "video/webm",
  mov: "video/quicktime",
  pdf: "application/pdf",
  json: "application/json",
  csv: "text/csv",
  txt: "text/plain",
  md: "text/markdown",
  zip: "application/zip",
};

/** The type that a file's name stands for, if it is a usual one. */
export function typeByName(name: string): string | undefined {
  return TYPES[name.split(".").at(-1)?.toLowerCase() ?? ""];
}

/** How the name of a file of this type ends, such as `png`; `bin` if the type isn't a usual one. */
export function extensionOf(contentType: string): string {
  const alias = ALIASES[contentType] ?? contentType;
  return Object.entries(TYPES).find(([, type]) => type === alias)?.[0] ?? "bin";
}

const ALIASES: Record<string, string> = {
  "image/jpg": "image/jpeg",
  "audio/x-wav": "audio/wav",
  "audio/wave": "audio/wav",
  "audio/mp3": "audio/mpeg",
};
