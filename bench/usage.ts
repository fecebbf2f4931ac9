/** What an object has used so far, in the units that Cloudflare bills. */
export interface Usage {
  rowsRead: number;
  /** Includes index rows; setting the alarm counts as one row. */
  rowsWritten: number;
  /** Calls, opened sockets and alarms. Socket messages are counted in `messages`. */
  requests: number;
  /** Incoming socket messages; 20 of them are billed as one request. */
  messages: number;
  /** Milliseconds in which a handler ran or a timer was pending; other time is not billed. */
  awakeMs: number;
}
