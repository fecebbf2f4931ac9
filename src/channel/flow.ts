/** A subscriber with more unacknowledged bytes than this is slow; about 250 `progress` frames. */
export const SLOW_BYTES = 65_536;

/** A subscriber with more unacknowledged bytes than this is cut off. */
export const FLOW_WINDOW_BYTES = 1_048_576;

/** The reason in the close frame of a subscriber that was cut off. */
export const TOO_SLOW = "too slow; resume with since";

/** The most marks that are kept, because they are stored in a socket's attachment. */
const MAX_MARKS = 64;

/** How much one subscriber was sent and how much of it it acknowledged, in bytes since its first frame. */
export interface Flow {
  sent: number;
  acked: number;
  /** Offsets that are not acknowledged yet, each with the bytes that were sent up to and including it. */
  marks: readonly { offset: number; sent: number }[];
}

export const NOTHING_SENT: Flow = { sent: 0, acked: 0, marks: [] };

/** Whether the subscriber should get only the newest states. */
export function isSlow({ sent, acked }: Flow): boolean {
  return sent - acked > SLOW_BYTES;
}

/** Whether the subscriber must be cut off instead of being sent more. */
export function isBehind({ sent, acked }: Omit<Flow, "marks">): boolean {
  return sent - acked > FLOW_WINDOW_BYTES;
}

/** The flow after a frame of `bytes` bytes was sent, the event of `offset`. */
export function afterSending(flow: Flow, offset: number, bytes: number): Flow {
  const sent = flow.sent + bytes;
  return { ...flow, sent, marks: thinned([...flow.marks, { offset, sent }]) };
}

/** The flow after the subscriber acknowledged everything up to `offset`, which may be beyond what was sent. */
export function afterAck(flow: Flow, offset: number): Flow {
  const reached = flow.marks.findLast((mark) => mark.offset <= offset);
  if (!reached) return flow;
  const marks = flow.marks.filter((mark) => mark.offset > offset);
  return { ...flow, acked: reached.sent, marks };
}

/**
 * Drops every second mark if there are too many. An acknowledgement of a dropped offset then counts only up to
 * the mark before it, so the subscriber seems farther behind than it is until its next acknowledgement.
 */
function thinned(marks: Flow["marks"]): Flow["marks"] {
  if (marks.length <= MAX_MARKS) return marks;
  const { length } = marks;
  return marks.filter((_, index) => (length - 1 - index) % 2 === 0);
}
