/** The most characters in a batch. A character has up to 3 bytes, so a batch is no larger than a frame may be. */
const BATCH_CHARACTERS = 262_144;

/**
 * Packs the JSON texts of frames into as few messages as possible, in order (decision 0029). A message of
 * several frames is `{type: "batch", frames: […]}`; a single frame is not wrapped.
 *
 * @param most characters in a batch, if it must be smaller than usual
 */
export function inBatches(texts: readonly string[], most = BATCH_CHARACTERS): string[] {
  const groups: string[][] = [];
  let characters = Number.POSITIVE_INFINITY;
  for (const text of texts) {
    characters += text.length;
    if (characters > Math.min(most, BATCH_CHARACTERS)) {
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
