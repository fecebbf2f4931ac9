import type { OutputFile } from "../protocol/output-files.ts";
import type { Edge } from "./edge.ts";
import { addressUnder } from "./edge-address.ts";

/** The file with its whole address: the edge names the path, because it may be reached under several origins. */
function addressed(file: OutputFile, edge: Edge): OutputFile {
  if (!file.url.startsWith("/")) return file;
  const { pathname, search } = new URL(file.url, edge.url);
  const address = addressUnder(edge.url, pathname);
  address.search = search;
  return { ...file, url: address.href };
}

/** A job or an event whose files have their whole addresses. */
export function withAddresses<T extends object>(owner: T, edge: Edge): T {
  const { outputs, file }: { outputs?: OutputFile[]; file?: OutputFile } = owner;
  if (outputs === undefined && file === undefined) return owner;
  return {
    ...owner,
    ...(outputs === undefined ? {} : { outputs: outputs.map((each) => addressed(each, edge)) }),
    ...(file === undefined ? {} : { file: addressed(file, edge) }),
  };
}
