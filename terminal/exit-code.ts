/** What the exit code of `dialout` says, as docs/terminal.md lists it. */
export const EXIT = {
  /** The job is completed, or the command did what it was to do. */
  ok: 0,
  failed: 1,
  /** The command line, or a file that it names, can't be used; nothing was sent. */
  usage: 2,
  canceled: 3,
  /** The edge refused. */
  refused: 4,
  /** No answer of an edge came. */
  unreachable: 5,
  /** The job is completed, but its files could not be saved. */
  notSaved: 6,
  /** Something that should not happen. */
  internal: 70,
  /** Left by Ctrl-C; the job goes on. */
  interrupted: 130,
  /** Whoever read the output has gone, as `head` does; the job goes on. */
  pipeClosed: 141,
  /** Left by SIGTERM; the job goes on. */
  terminated: 143,
} as const;
