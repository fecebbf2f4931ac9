/** A batch has this many characters at most, so that it is no larger than a frame may be. */
const BATCH_CHARACTERS = 262_144;

/** Messages that carry frames, given as their texts: several as `{type: "batch", frames: […]}`, one as it is. */
export function inBatches(texts: readonly string[]): string[] {
  const groups: string[][] = [];
  let characters = Number.POSITIVE_INFINITY;
  for (const text of texts) {
    characters += text.length;
    if (characters > BATCH_CHARACTERS) {
      groups.push([]);
      characters = text.length;
    }
    groups.at(-1)?.push(text);
  }
  return groups.map(batchOf);
}

function batchOf(texts: readonly string[]): string {
  const [only] = texts;
  if (only !== undefined && texts.length === 1) return only;
  return `{"type":"batch","frames":[${texts.join()}]}`;
}
