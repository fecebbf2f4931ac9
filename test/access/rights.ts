import type { Party } from "./parties.ts";

interface Right {
  /** Who has it, as docs/access.md says it. */
  text: string;
  /** Who has it of those that the test tries. */
  parties: readonly Party[];
}

const ADMINS = ["admin", "operator"] as const;
const OWNERS = [...ADMINS, "owner"] as const;
const MANAGERS = [...OWNERS, "manager", "key"] as const;
const USERS = [...MANAGERS, "user", "token"] as const;
/** Whoever shows a key, a token or a session that the edge knows, or nothing at all. */
const EVERYBODY = [...USERS, "anonymous", "member", "token_lacking", "key_lacking"] as const;

/** What a door may ask of whoever comes. */
export const RIGHTS = {
  open: {
    text: "anybody: no key and no token is looked at",
    parties: [...EVERYBODY, "worker", "strange_worker", "key_elsewhere"],
  },
  anybody: {
    text: "anybody; but a key or token that is shown must be a valid one",
    parties: [...EVERYBODY, "key_elsewhere"],
  },
  use: {
    text: "of a public space anybody, if it takes anonymous use; of a private one its owner, its members, admins, and tokens that name it",
    parties: USERS,
  },
  manage: { text: "the space's owner, members who may manage it, and admins", parties: MANAGERS },
  own: { text: "the space's owner, and admins", parties: OWNERS },
  make_space: {
    text: "admins; members too where `SPACE_CREATION` says so",
    parties: ADMINS,
  },
  job: {
    text: "whose job it is, whoever manages its space, and admins; if it is nobody's, whoever may use the space and knows its id",
    parties: [...MANAGERS, "user"],
  },
  worker: { text: "a worker with a token of this space", parties: ["worker"] },
  admin: { text: "admins", parties: ADMINS },
  operator: { text: "the operator's key", parties: ["operator"] },
  session: {
    text: "whoever is signed in, for themselves",
    parties: ["member", "user", "manager", "owner", "admin"],
  },
  read_room: {
    text: "admins, tokens and keys that name the room, and its own user",
    parties: [...ADMINS, "token"],
  },
  publish_room: { text: "admins, and tokens and keys that may publish to it", parties: [...ADMINS, "token"] },
} as const satisfies Record<string, Right>;
export type RightName = keyof typeof RIGHTS;
