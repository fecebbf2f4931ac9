/** Formats a time in milliseconds since 1970 as ISO 8601 in UTC, for frames and answers. */
export function iso(instant: number): string {
  // biome-ignore lint/style/noRestrictedGlobals: formats the time it is given; reads no clock.
  return new Date(instant).toISOString();
}
