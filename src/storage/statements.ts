/** The text of a statement by what it is made from, each made memoized: the runtime prepares a text it knows memoized. */
export function memoized(make: (shape: string) => string): (shape: string) => string {
  const made = new Map<string, string>();
  return (shape) => {
    const known = made.get(shape) ?? make(shape);
    made.set(shape, known);
    return known;
  };
}
