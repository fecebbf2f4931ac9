/** A subscriber that is farther behind than this is slow, bytes: some 250 states that nobody looked at. */
export const SLOW_BYTES = 65_536;

/** How far a subscriber that acknowledges may be behind, bytes. */
export const FLOW_WINDOW_BYTES = 1_048_576;

/** Why a subscriber that fell farther behind is closed. */
export const TOO_SLOW = "too slow; resume with since";

/** Marks kept at most: they live in a socket's attachment. */
const MAX_MARKS = 64;

/** What one subscriber was sent and has acknowledged, counted in bytes from its first frame on. */
export interface Flow {
  sent: number;
  acked: number;
  /** Offsets that were sent and not acknowledged, and how much was sent by then. */
  marks: readonly { offset: number; sent: number }[];
}

export const NOTHING_SENT: Flow = { sent: 0, acked: 0, marks: [] };

/** Whether the subscriber is to be sent the newest states only. */
export function isSlow({ sent, acked }: Flow): boolean {
  return sent - acked > SLOW_BYTES;
}

/** Whether the subscriber is to be cut off rather than sent more. */
export function isBehind({ sent, acked }: Omit<Flow, "marks">): boolean {
  return sent - acked > FLOW_WINDOW_BYTES;
}

export function afterSending(flow: Flow, offset: number, bytes: number): Flow {
  const sent = flow.sent + bytes;
  return { ...flow, sent, marks: thinned([...flow.marks, { offset, sent }]) };
}

/** Everything up to `offset` has arrived; an offset that was never sent acknowledges what was. */
export function afterAck(flow: Flow, offset: number): Flow {
  const reached = flow.marks.findLast((mark) => mark.offset <= offset);
  if (!reached) return flow;
  const marks = flow.marks.filter((mark) => mark.offset > offset);
  return { ...flow, acked: reached.sent, marks };
}

/** With every other mark gone, an acknowledgement in between counts up to the one before. */
function thinned(marks: Flow["marks"]): Flow["marks"] {
  if (marks.length <= MAX_MARKS) return marks;
  const { length } = marks;
  return marks.filter((_, index) => (length - 1 - index) % 2 === 0);
}
