/** Receives the log messages of a worker. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

const nothing = () => {};

export const SILENT: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
