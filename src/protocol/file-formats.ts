/** Texts that stand for files: the property of an input is sent as a file, that of a result names an output file. */
export const FILE_FORMATS = ["file", "image", "audio", "video"] as const;
export type FileFormat = (typeof FILE_FORMATS)[number];
