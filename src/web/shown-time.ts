/** A time as the reader's own country writes it. */
export function shown(time: string): string {
  return new Date(time).toLocaleString();
}
