// @ts-check
// variants.mjs - tokenizer.json files that use every part that is supported,
// made from the small GPT-2's: a map from name to the JSON's object.

const CL100K =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" +
  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const QWEN2 = CL100K.replace("{1,3}", "");
const O200K =
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" +
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" +
  "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const byteLevel = (/** @type {boolean} */ prefix, /** @type {boolean} */ regex) => ({
  type: "ByteLevel", add_prefix_space: prefix, trim_offsets: true, use_regex: regex,
});
const split = (/** @type {object} */ pattern, behavior = "Isolated", invert = false) => ({
  type: "Split", pattern, behavior, invert,
});
const sequence = (/** @type {object[]} */ ...pretokenizers) => ({
  type: "Sequence", pretokenizers,
});

/** @param {number} id @param {string} content @param {object} flags */
function added(id, content, flags = {}) {
  return { id, content, single_word: false, lstrip: false, rstrip: false,
    normalized: false, special: true, ...flags };
}

/** A template that puts ids around a text. @param {[string, number][]} before @param {[string, number][]} after */
function template(before, after) {
  const piece = (/** @type {[string, number]} */ [id]) => ({ SpecialToken: { id, type_id: 0 } });
  const text = (/** @type {string} */ id) => ({ Sequence: { id, type_id: 0 } });
  return {
    type: "TemplateProcessing",
    single: [...before.map(piece), text("A"), ...after.map(piece)],
    pair: [text("A"), text("B")],
    special_tokens: Object.fromEntries([...before, ...after].map(([id, n]) => [id, { id, ids: [n], tokens: [id] }])),
  };
}

/**
 * The byte-level vocabulary as one of the SentencePiece kind: ASCII tokens with
 * U+2581 for the space, a few characters besides, and the bytes.
 * @param {any} base @param {string[]} bytes
 */
function sentencePiece(base, bytes) {
  /** @type {Record<string, number>} */
  const vocab = {};
  const put = (/** @type {string} */ s) => { vocab[s] ??= Object.keys(vocab).length; };
  const respell = (/** @type {string} */ s) => s.replaceAll("Ġ", "▁");

  ["<unk>", "<s>", "</s>", ...bytes].forEach(put);
  for (const token of Object.keys(base.model.vocab))
    if (/^[\x21-\x7eĠ]+$/.test(token) && !token.startsWith("<|")) put(respell(token));
  ["é", "ï", "日", "本", "語", "🙂", "▁"].forEach(put);
  const merges = base.model.merges
    .map((/** @type {string[]} */ m) => m.map(respell))
    .filter((/** @type {string[]} */ m) => m.every((s) => s in vocab) && m.join("") in vocab);
  return { vocab, merges };
}

const LLAMA_NORM = { type: "Sequence", normalizers: [
  { type: "Prepend", prepend: "▁" },
  { type: "Replace", pattern: { String: " " }, content: "▁" }] };
const LLAMA_DECODER = { type: "Sequence", decoders: [
  { type: "Replace", pattern: { String: "▁" }, content: " " },
  { type: "ByteFallback" }, { type: "Fuse" },
  { type: "Strip", content: " ", start: 1, stop: 0 }] };
const BYTES = Array.from({ length: 256 }, (_, i) =>
  `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);

/** @param {any} base @param {string[]} bytes @param {object} changes @param {object} model */
function llama(base, bytes, changes = {}, model = {}) {
  return {
    ...base,
    added_tokens: [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
    normalizer: LLAMA_NORM,
    pre_tokenizer: null,
    post_processor: template([["<s>", 1]], []),
    decoder: LLAMA_DECODER,
    model: { ...base.model, unk_token: "<unk>", fuse_unk: true, byte_fallback: true,
      ...sentencePiece(base, bytes), ...model },
    ...changes,
  };
}

/** @param {any} base the small GPT-2's tokenizer.json */
export function variants(base) {
  const n = Object.keys(base.model.vocab).length;
  /** @type {Record<string, any>} */
  const all = {
    "GPT-2": base,
    "GPT-2, merges as strings": { ...base, model: { ...base.model, merges: base.model.merges.map((/** @type {string[]} */ m) => m.join(" ")) } },
    "a space in front": { ...base, pre_tokenizer: byteLevel(true, true) },
    "Llama 3": { ...base, model: { ...base.model, ignore_merges: true },
      pre_tokenizer: sequence(split({ Regex: CL100K }), byteLevel(false, false)),
      added_tokens: [added(0, "<|endoftext|>"), added(n, "<|begin|>"), added(n + 1, "<|begin|>ning")],
      post_processor: { type: "Sequence", processors: [byteLevel(true, true), template([["<|begin|>", n]], [["<|endoftext|>", 0]])] } },
    Qwen2: { ...base, normalizer: { type: "NFC" },
      pre_tokenizer: sequence(split({ Regex: QWEN2 }), byteLevel(false, false)) },
    o200k: { ...base, pre_tokenizer: sequence(split({ Regex: O200K }), byteLevel(false, false)) },
    "digits alone": { ...base, pre_tokenizer: sequence({ type: "Digits", individual_digits: true }, byteLevel(false, true)) },
    "digits together": { ...base, pre_tokenizer: sequence({ type: "Digits", individual_digits: false }, byteLevel(false, true)) },
    "added tokens": { ...base, normalizer: { type: "NFKC" }, added_tokens: [
      added(0, "<|endoftext|>"),
      added(base.model.vocab.the, "the", { single_word: true, special: false }),
      added(n, "<L>", { lstrip: true }),
      added(n + 1, "<R>", { rstrip: true }),
      added(n + 2, "<B>", { lstrip: true, rstrip: true, normalized: true }),
      added(n + 3, "ﬁne", { normalized: true, special: false }),
      added(n + 4, "cafe\u0323", { normalized: true, special: false }),
      added(n + 5, "<L><R>", { special: false }),
      added(n + 6, "日本", { single_word: true })] },
    "sets of words": { ...base, pre_tokenizer: sequence(split({ Regex: "\\w+|[^\\w\\s]+" }, "Removed", true), byteLevel(false, false)) },
    "Llama 2": llama(base, BYTES),
    "Llama 2, no bytes": llama(base, [], {}, { byte_fallback: false }),
    "Llama 2, no bytes, each unknown": llama(base, [], {}, { byte_fallback: false, fuse_unk: false }),
    "Llama 2, some bytes": llama(base, BYTES.slice(0, 0xc0)),
    "Llama 2, unknown dropped": llama(base, [], {}, { byte_fallback: false, unk_token: null }),
    "Llama 2, spaces kept": llama(base, BYTES, { normalizer: { type: "Replace", pattern: { Regex: " {1,2}" }, content: "▁" } }),
  };
  for (const form of ["NFD", "NFKD", "NFKC"]) all[form] = { ...base, normalizer: { type: form } };
  for (const behavior of ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
    for (const invert of [false, true])
      for (const pattern of [{ String: " " }, { Regex: "\\s|[a-c]*" }])
        all[`${behavior} ${invert} ${JSON.stringify(pattern)}`] =
          { ...base, pre_tokenizer: sequence(split(pattern, behavior, invert), byteLevel(false, false)) };
  for (const scheme of ["first", "always", "never"])
    for (const cut of [true, false]) {
      const part = { type: "Metaspace", replacement: "▁", prepend_scheme: scheme, split: cut };
      all[`Metaspace ${scheme} ${cut}`] = llama(base, BYTES, {
        normalizer: null, pre_tokenizer: part,
        decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, part] } });
    }
  return all;
}
