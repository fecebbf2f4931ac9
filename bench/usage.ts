/** What an object used so far, as it would be billed. */
export interface Usage {
  rowsRead: number;
  /** Index rows included; setting the alarm is one. */
  rowsWritten: number;
  /** Calls, sockets opened and alarms; socket messages are counted apart, 20 of them are one. */
  requests: number;
  messages: number;
  /** While a handler ran or a timer was pending: an object with neither is not billed for time. */
  awakeMs: number;
}
