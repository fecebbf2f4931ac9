/** The limits on everything that Dialout reads from outside, each with its reason. */
export const LIMITS = {
  /** Largest frame on any socket, bytes. A result must fit one SQLite row (2 MB) beside its input. */
  frameBytes: 1_048_576,
  /** Larger messages are announced (decision 0046), bytes: on the slowest link this takes half of a lease. */
  unannouncedBytes: 65_536,
  /** An announcement of more bytes counts as one of so many: a dead connection must be noticed at some time. */
  announcedBytes: 1_048_576,
  /** The slowest link on which large messages arrive, bytes a second: what is announced may take so long. */
  slowestBytesPerS: 4_096,
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
  /**
   * Most lists, objects, fields and numbers such as `1.0` in a body, for those bodies that may be larger than a frame,
   * which can't have more: they take time to read, and many times their length in memory.
   */
  bodyParts: 350_000,
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
  /** Most output files of one attempt: their descriptions are in one row. */
  outputFiles: 64,
  /** Largest output file that comes in one request, bytes: platforms cut larger bodies. */
  outputFileBytes: 104_857_600,
  /** Largest page of a list of jobs, bytes: a call to an object carries 32 MiB, and others wait while it is made. */
  pageBytes: 8_388_608,
  /** How many errors a problem lists. */
  listedErrors: 100,
  /** How many of a job's webhook messages are listed. */
  listedDeliveries: 1_000,
  /** Largest page of a room's history, bytes: a room keeps 4 MiB. */
  historyBytes: 1_048_576,
  /** Largest page of the users in a room, bytes: a room may have tens of thousands. */
  presenceBytes: 1_048_576,
  /** Most bytes of jobs in the answer to a batch that were there before it, or took their result from the cache. */
  batchAnswerBytes: 1_048_576,
  /** Most bytes that the jobs of one transaction take over from the cache: each is stored again. */
  cachedBytes: 4_194_304,
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
  /** The same for a backend that reports a job or has the operator's key: each report is a frame. */
  backendFrameBurst: 10_000,
  backendFramesPerSecond: 5_000,
  /** The same for a worker, which sends a frame for each piece of output of up to `concurrency` jobs. */
  workerFrameBurst: 100_000,
  workerFramesPerSecond: 30_000,
  /** Most keys of one user: each may submit as much as a user. */
  keysPerUser: 100,
  /** Open sockets of one address, user, key or worker token at one object, which keeps 32,768 of all together. */
  socketsPerOwner: 1_000,
  /** The same for an address that many clients may share: that of a proxy, or of the edge's own machine. */
  socketsPerSharedAddress: 10_000,
  /** An `ack` counts as this part of a frame: clients send one for every few frames that they get. */
  ackFrame: 0.1,
  /** A frame for which the edge has to call other objects counts as this many frames. */
  heavyFrame: 10,
  /** What one socket is sent at once to catch up, bytes: a few large jobs, or the whole log of a room. */
  catchUpBytes: 4_194_304,
  /** What it is sent in the long run, bytes a second: it is in memory until the socket's client has read it. */
  catchUpBytesPerSecond: 2_097_152,
  /** What one object builds in a turn for sockets that catch up, bytes: others wait that long for their turn. */
  catchUpBytesPerTurn: 1_048_576,
  /** Longest unanswered frames of one socket of `/ws` or of a space together, characters: they wait in memory for their turn. */
  unansweredLength: 8_388_608,
  /** Most bytes of inputs of a space's running attempts together: these jobs are in memory. Others wait. */
  runningInputBytes: 33_554_432,
  /** Most bytes of inputs that are handed to workers in one turn of the event loop. */
  dispatchBytes: 4_194_304,
  /** Most attempts of one worker at once: it lists them all in one `register` frame. */
  concurrency: 1_000,
  /** Most members of a space: they are in memory with it. */
  members: 500,
  /** Most capabilities that one worker has, or that one job requires. */
  capabilities: 50,
  /** Most distinct sets of capabilities that waiting jobs require: each is looked at when jobs are handed out. */
  waitingClasses: 200,
  /** The number of malformed frames in a row after which a subscriber's socket is closed. */
  malformedFrames: 3,
  /** How long a worker's socket may stay open without `register`, milliseconds. */
  registerMs: 10_000,
  /** Most data that a slow reader of a stream or a socket may leave unread, bytes: it is in memory. */
  unreadBytes: 8_388_608,
  /** The same for a socket whose client has had no time to answer yet, characters: what one step sends. */
  unreadAtOnce: 33_554_432,
  /** Data that all sockets of one object may leave unread together, characters: an object has 128 MB of memory. */
  unreadOfAll: 67_108_864,
  /** What one socket may leave unread while `unreadOfAll` is exceeded: a burst that an honest client gets at once. */
  unreadWhenFull: 4_194_304,
  /** After this much a client is asked whether it reads, characters: often enough for `unreadWhenFull`. */
  readCheckEvery: 1_048_576,
  /** What a client that never sends anything may be sent each second for hours, characters: more than text grows. */
  forgivenPerSecond: 16_384,
  /** How long a user whose socket dropped still counts as present in a room, milliseconds: clients reconnect sooner. */
  presenceGraceMs: 5_000,
  /** Longest `Prefer: wait`, seconds: proxies cut idle requests after about 100. */
  waitSeconds: 60,
} as const;
