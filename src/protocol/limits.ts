/** Every bound on what Dialout reads from outside, each with its reason. */
export const LIMITS = {
  /** Largest frame on any socket, bytes. A result must fit one SQLite row (2 MB) beside its input. */
  frameBytes: 1_048_576,
  /** Largest `input` of a job as JSON, bytes: input and output share one row of 2 MB. */
  inputBytes: 524_288,
  /** Largest JSON body of a request, bytes: one input and its options. */
  jsonBodyBytes: 1_048_576,
  /** Largest data of a room's event, bytes: events share rows of 2 MB, and a gateway holds many. */
  eventBytes: 262_144,
  /** Frames in one message of a socket of batches: more than fit into one of the edge's own. */
  batchFrames: 5_000,
  /** Largest JSON body of a batch, bytes: well under the 32 MiB of one object call. */
  batchBodyBytes: 8_388_608,
  /** Jobs in one batch. */
  batchJobs: 1_000,
  /** Largest multipart body, bytes: it is held in a Worker's 128 MB while it is parsed. */
  uploadBytes: 16_777_216,
  /** Files of one job: one row holds their descriptions. */
  filesPerJob: 16,
  /** Nesting of JSON: deeper values overflow the stack of a recursive reader. */
  jsonDepth: 64,
  /** Nesting of an `input` on its own: it must still be readable inside the frames that carry it. */
  inputDepth: 60,
  /** Streamed output kept for one job, bytes; older pieces are dropped, the result is kept whole. */
  jobLogBytes: 1_048_576,
  /** Jobs one socket may follow beside those it submitted: they live in its 16 KB attachment. */
  followsPerSocket: 100,
  /** Channels one socket of `/ws` may follow: they live in its 16 KB attachment. */
  roomsPerSocket: 100,
  /** What a socket's attachment may hold, bytes; the runtime allows 16,384. */
  attachmentBytes: 15_000,
  /** Frames a client of rooms may send in a burst, and each second after it. */
  frameBurst: 1_000,
  framesPerSecond: 500,
  /** A frame that makes the edge ask others counts as so many. */
  heavyFrame: 10,
  /** Attempts one worker may hold at once: it lists them all in one `register` frame. */
  concurrency: 1_000,
  /** Capabilities one worker has, or one job asks for. */
  capabilities: 50,
  /** Malformed frames in a row at which a subscriber's socket is closed. */
  malformedFrames: 3,
  /** How long a worker's socket may stay open without `register`, milliseconds. */
  registerMs: 10_000,
  /** Events a slow reader of a stream may leave unread, bytes: they are held in memory. */
  unreadBytes: 8_388_608,
  /** Longest `Prefer: wait`, seconds: proxies cut idle requests after about 100. */
  waitSeconds: 60,
} as const;
