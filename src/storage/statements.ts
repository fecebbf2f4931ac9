/** Caches the texts of statements by their shape, because the runtime prepares a text that it knows only once. */
export function memoized(make: (shape: string) => string): (shape: string) => string {
  const made = new Map<string, string>();
  return (shape) => {
    const known = made.get(shape) ?? make(shape);
    made.set(shape, known);
    return known;
  };
}
