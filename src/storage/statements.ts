/** The text of a statement by what it is made from, each made once: the runtime prepares a text it knows once. */
export function once(make: (shape: string) => string): (shape: string) => string {
  const made = new Map<string, string>();
  return (shape) => {
    const known = made.get(shape) ?? make(shape);
    made.set(shape, known);
    return known;
  };
}
