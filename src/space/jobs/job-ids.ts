import { decodeTime, encodeTime } from "ulid";

/** Crockford's base 32, as ULIDs use it. */
const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SEQUENCE_DIGITS = 3;
const SEQUENCE_END = 32 ** SEQUENCE_DIGITS;
const RANDOM_DIGITS = 13;
const IDS_A_POOL = 64;

/**
 * ULIDs that sort in the order they are made, and none of which tells another: after the time come 15
 * bits that count within the millisecond, then 65 fresh random ones. The usual monotonic ULID adds 1
 * to the last one's random part, which would give the neighbour's job away.
 */
export class JobIds {
  private time: number;
  private sequence = 0;
  /** Random bytes for the next ids: asked for many at a time, because each time costs. */
  private readonly pool = new Uint8Array(RANDOM_DIGITS * IDS_A_POOL);
  private used = this.pool.length;

  /** `newest` is the newest id there is: no id made now may sort before it. */
  constructor(newest: string | null) {
    this.time = newest === null ? 0 : decodeTime(newest) + 1;
  }

  next(now: number): string {
    if (now > this.time) {
      this.time = now;
      this.sequence = 0;
    } else if (this.sequence === SEQUENCE_END) {
      this.time += 1;
      this.sequence = 0;
    }
    let id = encodeTime(this.time) + inDigits(this.sequence++);
    for (const byte of this.randomBytes()) id += DIGITS[byte % DIGITS.length];
    return id;
  }

  private randomBytes(): Uint8Array {
    if (this.used === this.pool.length) {
      crypto.getRandomValues(this.pool);
      this.used = 0;
    }
    const from = this.used;
    this.used += RANDOM_DIGITS;
    return this.pool.subarray(from, this.used);
  }
}

function inDigits(sequence: number): string {
  let digits = "";
  for (let rest = sequence, place = 0; place < SEQUENCE_DIGITS; place += 1) {
    digits = DIGITS[rest % DIGITS.length] + digits;
    rest = Math.floor(rest / DIGITS.length);
  }
  return digits;
}
