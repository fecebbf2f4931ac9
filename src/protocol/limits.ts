/** The limits on everything that Dialout reads from outside, each with its reason. */
export const LIMITS = {
  /** Largest frame on any socket, bytes. A result must fit one SQLite row (2 MB) beside its input. */
  frameBytes: 1_048_576,
  /** Largest `input` of a job as JSON, bytes: input and output share one row of 2 MB. */
  inputBytes: 524_288,
  /** Largest JSON body of a request, bytes: one input and its options. */
  jsonBodyBytes: 1_048_576,
  /** Largest JSON body about an account, bytes: names, an address and passwords. */
  accountBodyBytes: 16_384,
  /** Largest data of a room's event, bytes: events share rows of 2 MB, and a gateway has many in memory. */
  eventBytes: 262_144,
  /** Most frames in one `batch` message. The largest batches that the edge itself sends have fewer. */
  batchFrames: 5_000,
  /** Largest JSON body of a batch of submits, bytes: well under the 32 MiB of one call to an object. */
  batchBodyBytes: 8_388_608,
  /** Most jobs in one batch of submits: they are stored in one transaction. */
  batchJobs: 1_000,
  /** Largest multipart body, bytes: it is in a Worker's memory of 128 MB while it is parsed. */
  uploadBytes: 16_777_216,
  /** Most parts of a form: each costs time to read, however small it is. */
  formParts: 1_000,
  /** Largest headers of one part of a form, bytes: they hold the names of a field and a file. */
  partHeaderBytes: 8_192,
  /** Most files of one job: their descriptions are in one row. */
  filesPerJob: 16,
  /** Deepest nesting of JSON: deeper values overflow the stack of a recursive reader. */
  jsonDepth: 64,
  /** Deepest nesting of an `input`: the frames that contain it must stay within `jsonDepth`. */
  inputDepth: 60,
  /** Most progress and output kept for one job, bytes. Older events are dropped; the result is kept whole. */
  jobLogBytes: 1_048_576,
  /** Most jobs that one socket may follow besides those it submitted: they are in its 16 KB attachment. */
  followsPerSocket: 100,
  /** Most channels that one socket of `/ws` may follow: they are in its 16 KB attachment. */
  roomsPerSocket: 100,
  /** Largest attachment of a socket, bytes; the runtime allows 16,384. */
  attachmentBytes: 15_000,
  /** Frames that a client of rooms may send at once, and each second in the long run. */
  frameBurst: 1_000,
  framesPerSecond: 500,
  /** A frame for which the edge has to call other objects counts as this many frames. */
  heavyFrame: 10,
  /** Longest unanswered frames of one socket of `/ws` together, characters: they wait in memory for their turn. */
  unansweredLength: 8_388_608,
  /** Most attempts of one worker at once: it lists them all in one `register` frame. */
  concurrency: 1_000,
  /** Most capabilities that one worker has, or that one job requires. */
  capabilities: 50,
  /** The number of malformed frames in a row after which a subscriber's socket is closed. */
  malformedFrames: 3,
  /** How long a worker's socket may stay open without `register`, milliseconds. */
  registerMs: 10_000,
  /** Most data that a slow reader of a stream may leave unread, bytes: it is in memory. */
  unreadBytes: 8_388_608,
  /** How long a user whose socket dropped still counts as present in a room, milliseconds: clients reconnect sooner. */
  presenceGraceMs: 5_000,
  /** Longest `Prefer: wait`, seconds: proxies cut idle requests after about 100. */
  waitSeconds: 60,
} as const;
