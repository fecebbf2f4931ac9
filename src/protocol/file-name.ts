/**
 * The name of a file as people may see it: the last part of the path that was sent, without characters that
 * are not seen or that change the order of others. For display; it must never be used as a path.
 */
export function displayName(sent: string): string {
  const last = sent.toWellFormed().split(/[/\\]/).at(-1) ?? "";
  const name = shortenName(last.replace(UNSEEN, "").trim(), NAME_LENGTH);
  const isVisible = /[^\s\u200c\u200d]/u.test(name);
  return !isVisible || name === "." || name === ".." ? "file" : name;
}

const NAME_LENGTH = 120;

/**
 * Control characters, marks of writing direction (`photo\u202egnp.exe` looks like `photoexe.png`), line
 * separators, and spaces without width. Joiners stay: Persian, Hindi and many emoji are written with them. So
 * do tags in flags, as in that of Scotland; elsewhere tags are text that nobody sees.
 */
const UNSEEN =
  /[\p{Cc}\p{Bidi_Control}\u00ad\u2028\u2029\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb]|(?<!\u{1f3f4}[\u{e0020}-\u{e007f}]*)[\u{e0000}-\u{e007f}]/gu;

/**
 * The name with at most `length` UTF-16 units. Its end, such as `.png`, is kept, and no character is cut in
 * two, also not one that people see as one, such as an emoji of several code points.
 */
export function shortenName(name: string, length: number): string {
  if (name.length <= length) return name;
  const extension = EXTENSION.exec(name)?.[0] ?? "";
  const stem = name.slice(0, name.length - extension.length);
  const room = length - extension.length;
  const border = CHARACTERS.segment(stem).containing(room)?.index ?? room;
  // A single character can be longer than the whole name may be.
  const cut = border > 0 ? border : room;
  return (
    stem
      .slice(0, cut)
      .replace(/[\ud800-\udbff]$/, "")
      .trimEnd() + extension
  );
}

/** `.png`, `.tar.gz`, but not the rest of a sentence. */
const EXTENSION = /(?:\.tar)?\.[^\s.]{1,16}$/iu;

const CHARACTERS = new Intl.Segmenter("und", { granularity: "grapheme" });
