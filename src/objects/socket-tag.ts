/** The tag a socket was accepted with. One that closed while the object was away has none any more, and says so by throwing. */
export function tagOf(ctx: DurableObjectState, socket: WebSocket): string | null {
  try {
    return ctx.getTags(socket)[0] ?? null;
  } catch {
    return null;
  }
}
