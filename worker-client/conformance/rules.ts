/** A rule of docs/protocol.md that the suite tries, in a few words. */
export interface Rule {
  /** `should`: a worker may have good reasons not to keep it, so it doesn't fail the suite. */
  level: "must" | "should";
  text: string;
}

const must = (text: string): Rule => ({ level: "must", text });
const should = (text: string): Rule => ({ level: "should", text });

/** In the order in which they are printed. */
export const RULES = {
  C1: must("unknown fields and frames are ignored"),
  C1a: must("a message that can't be read doesn't end the worker"),
  C2a: must("a `pong` that nobody asked for is ignored"),
  C3: must("every message is a frame of at most `max_frame_bytes`"),
  C4: should("messages of some megabytes are accepted"),
  C6a: must("batches are sent only where the edge said that it takes them"),
  C6b: must("a frame in a batch means what it means alone"),
  C17a: should("silence after an announcement is no dead connection"),
  C18a: should("`read_check` is sent back"),
  W1: must("the worker dials /api/spaces/<space>/connect"),
  W2: must("the worker sends its token"),
  W3: should("the reason of a refusal is shown"),
  W4: must("a refusal for good ends the dialing, a temporary one doesn't"),
  W4a: should("an answer of somebody else than the edge doesn't end the dialing"),
  W4c: should("a redirect is not followed"),
  W5: must("an edge of another protocol is given up"),
  W6: must("`register` is the first frame"),
  W6a: must("`worker_id` stays the same over reconnects, and no other process has it"),
  W7c: must("a worker that was replaced doesn't dial again"),
  W8: should("nothing is sent before `registered`"),
  W9: must("the text `ping` is sent every `heartbeat_s`, idle or busy"),
  W10: should("a connection that was silent for `lease_s` is dropped, and the worker dials again"),
  W12: should("a job is accepted at once"),
  W13: must("the name of a file is not used as a path"),
  W14: must("files are fetched from their address, without the token"),
  W14b: should("a file with another checksum is not taken"),
  W14f: should("a download that broke goes on where it was"),
  W15: should("an attempt is not ended before the edge cancels it"),
  W15a: should("a deadline that has moved counts"),
  W16a: must("progress is a number from 0 to 100"),
  W17: must("a job that is done gets its `result`"),
  W18: must("a job that failed gets its `fail`, with the reason"),
  W19: should("a failure that another attempt may mend is told as such"),
  W19b: must("a worker that wants no jobs sends `drain` before it rejects"),
  W20a: must("an end is kept until it is acknowledged, and sent again after a reconnect"),
  W21: must("outputs come in order, before exactly one end"),
  W22: must("a `stale` attempt is stopped and forgotten"),
  W23: must("a `cancel` is answered, also for an attempt that isn't held"),
  W25: must("`resume` lists what the worker holds, and nothing else"),
  W25a: must("a `dropped` attempt is stopped and forgotten"),
  W26: must("after a reconnect the outputs that the edge lacks are sent, then the end"),
  W26a: must("outputs are kept until the attempt's end is acknowledged"),
  W26b: should("an attempt isn't ended at its deadline while the edge is away"),
  W26c: should("a download goes on with the new address"),
  W28: should("a worker that is stopped drains: `drain`, the running jobs, close 1000"),
  W28a: must("a worker that means to come back doesn't close with 1000"),
  W28b: must("a `drain` of the edge ends nothing"),
  W30: must("the close code decides whether the worker dials again"),
  W30b: must("an `error` about an attempt ends only that attempt"),
  W31: must("the worker waits between two dials, within the bounds"),
  W34: should("a large message is announced"),
  W34b: should("no more is sent than the connection carries away"),
  W35: must("the schema at `register` is one that an edge takes"),
  W36: must("output files are uploaded whole before a frame names them"),
  W36g: must("a frame that named a missing file is not sent again"),
} as const satisfies Record<string, Rule>;

export type RuleId = keyof typeof RULES;

/** The rule that a frame with wrong fields breaks, by its type. */
export const RULE_OF_FRAME: Readonly<Record<string, RuleId>> = {
  register: "W6",
  accept: "W12",
  progress: "W16a",
  output: "W21",
  result: "W17",
  fail: "W18",
  reject: "W19b",
  drain: "W28",
  sending: "W34",
};
