import { Edge } from "../client/edge.ts";
import { SpaceHandle } from "../client/space-handle.ts";
import { SpaceSocketPool } from "../client/space-socket-pool.ts";
import { parseMessage } from "../protocol/exact-json.ts";
import { edgeOfPage } from "./api.ts";
import { fetchWithProgress } from "./upload.ts";

/**
 * The page's space, used through the client library as any other program would use it. It is not made by `DialoutClient`,
 * which would bring the code for rooms along, and not in `api.ts`, which pages without sockets load, too.
 */
export function spaceOfPage(name: string): SpaceHandle {
  return new SpaceHandle(edgeOfPage(), new SpaceSocketPool(edgeOfPage()), name);
}

/**
 * The same space, for submits with files and for uploads: they may take long, as long as something of them is sent.
 *
 * @param onSent called with how many bytes of a request were sent so far
 */
export function uploadsTo(name: string, onSent?: (bytes: number) => void): SpaceHandle {
  const edge = new Edge({
    parseJson: parseMessage,
    requestTimeout: Number.POSITIVE_INFINITY,
    fetch: (address, init) => fetchWithProgress(address, init, onSent),
  });
  return new SpaceHandle(edge, new SpaceSocketPool(edge), name);
}
