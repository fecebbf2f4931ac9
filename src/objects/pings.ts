import type { Env } from "../env.ts";

/**
 * Who answers the texts `ping` on the sockets of one object, and when they came (decision 0061).
 *
 * The runtime can do it without waking the object, so that idle workers cost nothing. But whoever sends pings as fast as
 * they can then keeps the runtime busy, which looks at nothing else, and the object doesn't even know. On a machine of
 * one's own an object that is awake costs nothing, so there it answers them itself: they are counted like frames.
 */
export class Pings {
  readonly areAnsweredHere: boolean;
  private readonly ctx: DurableObjectState;
  private readonly times = new WeakMap<WebSocket, number>();

  constructor(ctx: DurableObjectState, areAnsweredHere: boolean) {
    this.ctx = ctx;
    this.areAnsweredHere = areAnsweredHere;
    if (areAnsweredHere) ctx.setWebSocketAutoResponse();
    else ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
  }

  onPing(socket: WebSocket, now: number): void {
    this.times.set(socket, now);
  }

  /** When a socket's last `ping` came, milliseconds since 1970; `null`: that is not known. */
  lastAt(socket: WebSocket): number | null {
    const answered = this.ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? null;
    return this.times.get(socket) ?? answered;
  }
}

const known = new WeakMap<DurableObjectState, Pings>();

/** Call this in an object's constructor, before it looks at its sockets. */
export function answerPings(ctx: DurableObjectState, env: Env): void {
  known.set(ctx, new Pings(ctx, env.MAY_STAND_STILL === "true"));
}

export function pingsOf(ctx: DurableObjectState): Pings {
  const pings = known.get(ctx) ?? new Pings(ctx, false);
  known.set(ctx, pings);
  return pings;
}
