/** Whoever may ask the edge for something, as docs/access.md and its test tell them apart. */
export const PARTIES = {
  anonymous: "nobody that is known",
  member: "a member who has nothing to do with the space, room or job",
  user: "a member who may use the space; the job is theirs",
  manager: "a member who may manage the space",
  owner: "the member whose space it is",
  admin: "an admin who is signed in",
  operator: "the operator's key",
  worker: "a worker's token of the space",
  strange_worker: "a worker's token of another space",
  key: "a key of the owner that has the scope; of an admin, where only theirs can have it",
  key_lacking: "a key of the owner that lacks the scope",
  key_elsewhere: "a key of the owner that has the scope, for another space",
  token: "a user's token that names the space, room or job",
  token_lacking: "a user's token that doesn't",
} as const;
export type Party = keyof typeof PARTIES;

/** Rights that have ended. Whoever shows one is refused wherever a right is needed. */
export const ENDED = {
  expired_token: "a user's token that has expired",
  revoked_key: "a key that was revoked",
  expired_key: "a key that has expired",
  ended_session: "a session that was ended",
  disabled_account: "a session of an account that was disabled since",
  revoked_worker: "a worker's token that was revoked",
} as const;
export type Ended = keyof typeof ENDED;
