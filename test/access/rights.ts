import type { Party } from "./parties.ts";

interface Right {
  /** Who has it, as docs/access.md says it. */
  text: string;
  /** Who has it of those that the test tries, in a private space and with a job of `user`. */
  parties: readonly Party[];
}

const ADMINS = ["admin", "operator"] as const;
const OWNERS = [...ADMINS, "owner"] as const;
const MANAGERS = [...OWNERS, "manager"] as const;
const USERS = [...MANAGERS, "user", "token"] as const;
const SESSIONS = ["member", "user", "manager", "owner", "admin"] as const;
const EVERYBODY = [
  ...USERS,
  "anonymous",
  "member",
  "key",
  "key_lacking",
  "key_elsewhere",
  "token_lacking",
] as const;

/** What a door may ask of whoever comes. */
export const RIGHTS = {
  open: {
    text: "anybody: no key and no token is looked at",
    parties: [...EVERYBODY, "worker", "strange_worker"],
  },
  anybody: {
    text: "anybody; but a key or token that is shown must be a valid one",
    parties: EVERYBODY,
  },
  use: {
    text: "a private space: its owner, its members, admins, and users' tokens that name it; a public one: anybody, to submit only if it takes anonymous use",
    parties: [...USERS, "key"],
  },
  list: {
    text: "those who manage the space see all of its jobs, others who may use it their own",
    parties: [...USERS, "key"],
  },
  manage: {
    text: "the space's owner, members who may manage it, and admins",
    parties: [...MANAGERS, "key"],
  },
  own: { text: "the space's owner, and admins", parties: [...OWNERS, "key"] },
  leave: {
    text: "who may manage the space, and the member themselves",
    parties: [...MANAGERS, "key"],
  },
  make_space: { text: "admins; members too where `SPACE_CREATION` says so", parties: ADMINS },
  job: {
    text: "whose job it is, those who manage its space, and admins; if it is nobody's, whoever may use the space and knows its id. To see it: also whoever has its link",
    parties: [...MANAGERS, "key", "user"],
  },
  reader: {
    text: "a public job: anybody; a private one: admins, its user, and tokens that name it",
    parties: [...ADMINS, "user", "token"],
  },
  reporter: {
    text: "admins, and users' tokens that may publish to it, such as `job:<id>`",
    parties: [...ADMINS, "token"],
  },
  page: { text: "the edge's own pages, whoever looks at them", parties: SESSIONS },
  signed: { text: "whoever has the signed address, until it expires", parties: [] },
  worker: { text: "workers with a token of this space", parties: ["worker"] },
  admin: { text: "admins", parties: ADMINS },
  numbers: { text: "admins, and keys of admins", parties: [...ADMINS, "key"] },
  session: { text: "whoever is signed in, for themselves", parties: SESSIONS },
  holder: {
    text: "whoever is signed in, for themselves; the operator's key for what is the operator's",
    parties: [...SESSIONS, "operator"],
  },
  minter: {
    text: "whoever is signed in, for themselves; admins for anybody whom they name; keys whose scopes cover what the token may",
    parties: SESSIONS,
  },
  csrf: {
    text: "whoever is signed in, with the session's CSRF token; and whoever may submit with a key or token",
    parties: [],
  },
  known: {
    text: "whoever is known: signed in, or with a key or token of a user",
    parties: [...SESSIONS, "key", "token", "token_lacking"],
  },
  room: {
    text: "admins, tokens and keys of admins that name the room, and the user whose own room it is",
    parties: [...ADMINS, "token", "key"],
  },
  publisher: {
    text: "admins, and tokens and keys of admins that may publish to the room",
    parties: [...ADMINS, "token", "key"],
  },
  gateway: {
    text: "whoever is known; each room is asked for by itself",
    parties: [
      ...SESSIONS,
      "operator",
      "key",
      "key_lacking",
      "key_elsewhere",
      "token",
      "token_lacking",
    ],
  },
} as const satisfies Record<string, Right>;
export type RightName = keyof typeof RIGHTS;
