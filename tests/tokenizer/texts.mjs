// @ts-check
// texts.mjs - varied lines of text from a seed, to compare tokenizers on.

/** A generator of numbers in [0, 1) (mulberry32). @param {number} seed */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// Pieces that meet in odd ways: contractions, spaces of many kinds, digits,
// marks, scripts without spaces, joiners, controls, tokens spelled out.
const PIECES = [
  "the", "The", "THE", "quick", "brown", "don't", "I'll", "we've", "'s", "'S",
  "'LL", "'ſ", "it’s", "naïve", "café", "cafe\u0301", "cafe\u0323", "caf\u1eb9", "Ünïcödé", "e\u0323\u0301",
  "e\u0301\u0323", "\u1e9b\u0323", "\u212b", "\u2126", "한국어", "\u1112\u1161\u11ab",
  "日本語", "テキスト", "中文字符", "หนังสือ", "हिन्दी", "नमस्ते", "العربية", "עִבְרִית",
  "Ελληνικά", "русский", "ﬁne", "straße", "ⅷ", "½", "²", "①", "٣٤٥", "१२३",
  "🙂", "👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "\ufe0f", "\u200d", "\u200b", "\ufeff", "\u00ad",
  "0", "1", "12", "123", "1234", "12345", "3.14159", "1_000", "0x7fff", "1e-9",
  ".", ",", "!", "?", "...", "…", "—", "“", "”", "(", ")", "[", "]", "{", "}",
  "#", "##", "$", "%", "&", "&&", "*", "**", "+", "+=", "-", "--", "/", "//",
  "\\", "\\n", "<", ">", "<=", "=", "==", "@", "^", "_", "__", "`", "```", "|", "~",
  " ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\u00a0",
  "\u2003", "\u3000", "\u2028", "\u0085", "\u180e", "\u000b", "\u000c", "\u0000", "\u0001", "\u007f",
  "▁", "▁▁", "Ġ", "Ċ", "<0x41>", "\ufffd", "\u{10ffff}", "\ue000",
  "a", "b", "x", "z", "aaaa", "abab", "int", "main", "void", "return", "i++",
  "http://example.org/?q=1&r=2", "user@example.org", "https", "<b>", "</b>",
  "supercalifragilisticexpialidocious", "Zwölfboxkämpfer", "L'été", "o'clock",
];

/**
 * n lines of text; special holds strings (such as special tokens) to mix in.
 * @param {number} n @param {number} seed @param {string[]} special
 */
export function texts(n, seed, special = []) {
  const next = random(seed);
  const pick = (/** @type {string[]} */ list) =>
    list[Math.floor(next() * list.length)];
  const lines = ["", " ", "  ", "\n", ...PIECES, ...special];

  while (lines.length < n) {
    let line = "";
    const glue = next() < 0.5 ? "" : " ";
    for (let k = 1 + Math.floor(next() * 14); k > 0; k--) {
      const kind = next();
      if (special.length && kind < 0.05) line += pick(special);
      else if (kind < 0.15) line += anyCharacter(next);
      else if (kind < 0.25) line += pick(PIECES).repeat(1 + Math.floor(next() * 5));
      else line += pick(PIECES);
      line += glue;
    }
    lines.push(line);
  }
  return lines.slice(0, n);
}

// A character of the blocks that all Unicode versions in use agree on.
function anyCharacter(/** @type {() => number} */ next) {
  const blocks = [[0x20, 0x7f], [0xa0, 0x24f], [0x300, 0x36f], [0x370, 0x3ff],
    [0x400, 0x4ff], [0x5d0, 0x5ea], [0x621, 0x64a], [0x904, 0x939], [0x1f00, 0x1f15],
    [0x2010, 0x206f], [0x20a0, 0x20b0], [0x2190, 0x21ff], [0x3041, 0x3096],
    [0x4e00, 0x9fa5], [0xac00, 0xd7a3], [0x1f600, 0x1f64f]];
  const [from, to] = blocks[Math.floor(next() * blocks.length)];
  return String.fromCodePoint(from + Math.floor(next() * (to - from + 1)));
}
