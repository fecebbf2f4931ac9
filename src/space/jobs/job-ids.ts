import { decodeTime, encodeTime } from "ulid";

/** Crockford's base 32, which ULIDs use. */
const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SEQUENCE_DIGITS = 3;
const SEQUENCE_END = 32 ** SEQUENCE_DIGITS;
const RANDOM_DIGITS = 13;
const IDS_PER_POOL = 64;

/**
 * Makes ULIDs that sort in the order in which they are made and reveal nothing about each other (decision
 * 0013): after the time come 15 bits that count within the millisecond, then 65 random bits. The usual
 * monotonic ULID adds 1 to the random part of the previous one, so whoever has one id could guess the next
 * job's, and knowing a job's id is the right to it (decision 0005).
 */
export class JobIds {
  private time: number;
  private sequence = 0;
  /** Random bytes for the next ids. They are generated for many ids at once, because each call costs. */
  private readonly pool = new Uint8Array(RANDOM_DIGITS * IDS_PER_POOL);
  private used = this.pool.length;

  /** @param newest the newest id of the space, if it has any: no new id may sort before it */
  constructor(newest: string | null) {
    this.time = newest === null ? 0 : decodeTime(newest) + 1;
  }

  /** Makes the next id; `now` in milliseconds since 1970. */
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
