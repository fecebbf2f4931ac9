/**
 * The tag that a socket was accepted with. The runtime throws if the socket closed while the object hibernated:
 * such a socket has no tag any more.
 */
export function tagOf(ctx: DurableObjectState, socket: WebSocket): string | null {
  try {
    return ctx.getTags(socket)[0] ?? null;
  } catch {
    return null;
  }
}
