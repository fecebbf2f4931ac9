/** How many messages of strangers an object handles before it looks whether anybody else had a turn meanwhile. */
const LOOK_AFTER = 64;
/** The same for messages of workers, of backends that report and of the operator. */
const TRUSTED_LOOK_AFTER = 512;
/** After so many messages of sockets that it has closed, an object takes nothing for a moment. */
const IGNORED_REST_AFTER = 16;
/** The shortest time in which the runtime turns to others, milliseconds. */
const REST_MS = 1;
/** How fast the time of frame limits passes while an object gets more than it can handle. */
const FLOODED_SPEED = 0.1;

/**
 * Gives others a turn while the sockets of one object send and send (decision 0061).
 *
 * As long as more is there to read, the runtime does nothing else: it looks at no other connection and no timer. So
 * after a number of messages the object looks whether a timer of its own went off meanwhile. If not, nobody else had a
 * turn: then it takes nothing for a millisecond, and the runtime stops reading from its sockets.
 *
 * Example without this: five sockets send acknowledgements as fast as they can. Batches wait for a timer between two
 * slices, which never comes, so that what was read piles up in memory. And however slowly frames are handled, each
 * socket stays below its 500 a second, because these are counted by the clock on the wall.
 */
export class MessageTurns {
  private readonly ctx: DurableObjectState;
  private taken = 0;
  private ignored = 0;
  private isResting = false;
  /** The number of the stretch of messages that is counted, and whether others had a turn in it. */
  private stretch = 0;
  private hadTurn = true;
  private isFlooded = false;
  private passedMs = 0;
  private lookedAt = Date.now();

  constructor(ctx: DurableObjectState) {
    this.ctx = ctx;
  }

  /**
   * Call this for each message of an open socket.
   *
   * @param weight as how many messages it counts: a long one takes as long as many
   */
  onMessage(isTrusted: boolean, weight = 1): void {
    this.taken += isTrusted ? (weight * LOOK_AFTER) / TRUSTED_LOOK_AFTER : weight;
    if (this.taken < LOOK_AFTER) return;
    this.taken = 0;
    this.setFlooded(!this.hadTurn);
    if (this.isFlooded) this.rest();
    else void this.awaitTurn();
  }

  /**
   * Call this for a message of a socket that was closed here. The runtime goes on reading what its client sends, so the
   * object rests now and then in any case: others need not wait for what is thrown away.
   */
  onIgnored(): void {
    this.ignored += 1;
    if (this.ignored % IGNORED_REST_AFTER === 0) this.rest();
  }

  /**
   * The time by which allowances of strangers are refilled, milliseconds: it passes slowly while the object gets more
   * than it can handle. Otherwise the slower it is, the more each of them might send.
   */
  allowanceTime(now: number): number {
    const elapsed = Math.max(0, now - this.lookedAt);
    this.lookedAt = now;
    this.passedMs += this.isFlooded ? elapsed * FLOODED_SPEED : elapsed;
    return this.passedMs;
  }

  private rest(): void {
    if (this.isResting) return;
    this.isResting = true;
    // No stretch that began before counts any more: others have their turn now.
    this.stretch += 1;
    void this.ctx
      .blockConcurrencyWhile(() => scheduler.wait(REST_MS))
      .then(() => {
        this.isResting = false;
        void this.awaitTurn();
      });
  }

  /** Begins a stretch of messages. */
  private async awaitTurn(): Promise<void> {
    this.stretch += 1;
    const { stretch } = this;
    this.hadTurn = false;
    await scheduler.wait(0);
    if (stretch !== this.stretch) return;
    this.hadTurn = true;
    this.setFlooded(false);
  }

  private setFlooded(isFlooded: boolean): void {
    this.allowanceTime(Date.now());
    this.isFlooded = isFlooded;
  }
}

const known = new WeakMap<DurableObjectState, MessageTurns>();

/** The one of an object, whose sockets may be kept in several collections. */
export function turnsOf(ctx: DurableObjectState): MessageTurns {
  const turns = known.get(ctx) ?? new MessageTurns(ctx);
  known.set(ctx, turns);
  return turns;
}
