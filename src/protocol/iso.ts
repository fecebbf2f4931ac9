/** A time in milliseconds since 1970 as ISO 8601 in UTC, as frames and answers carry it. */
export function iso(instant: number): string {
  // biome-ignore lint/style/noRestrictedGlobals: formats the time it is given; reads no clock.
  return new Date(instant).toISOString();
}
