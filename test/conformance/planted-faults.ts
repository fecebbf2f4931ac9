import type { RuleId } from "../../worker-client/conformance/rules.ts";

/** What a broken `tiny-worker-program.ts` can do wrong, and the rule that the suite must call broken then. */
export const PLANTED_FAULTS = {
  "accepts nothing": "W12",
  "answers cancels of its own jobs only": "W23",
  "changes its id": "W6a",
  "closes with 1000": "W28a",
  "counts to 300 percent": "W16a",
  "dials after a 401": "W4",
  "dials after any close": "W30",
  "dials at once": "W31",
  "drains once": "W28",
  "ends on a pong": "C2a",
  "ends on bad JSON": "C1a",
  "ends on unknown frames": "C1",
  "follows a redirect": "W4c",
  "forgets sent outputs": "W26a",
  "goes on after dropped": "W25a",
  "goes on after stale": "W22",
  "has a schema of lists": "W35",
  "ignores cancels": "W23",
  "keeps reasons for itself": "W18",
  "lists what was acknowledged": "W25",
  "pings as WebSocket does": "W9",
  "runs a job twice": "W21",
  "saves files by their name": "W13",
  "sends all outputs again": "W26",
  "sends an end once": "W20a",
  "sends batches unasked": "C6a",
  "sends frames of any size": "C3",
  "sends its token for files": "W14",
  "speaks before register": "W6",
  "uploads once": "W36",
  "wants known fields only": "C1",
} as const satisfies Record<string, RuleId>;

export type PlantedFault = keyof typeof PLANTED_FAULTS;
