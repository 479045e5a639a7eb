// @ts-check
// make_model.mjs - write a Hugging Face folder of any shape with random
// weights, for benchmarks: the same arguments give the same bytes.
//
//   node ops/bench/make_model.mjs OUT_DIR [--family gpt2|llama|qwen2]
//     [--layers 12] [--width 768] [--heads 12] [--kv-heads N] [--hidden N]
//     [--vocab 50257] [--context 1024] [--dtype BF16|F16|F32] [--files 1]
//     [--seed 1]
//
// The defaults are GPT-2 124M's shape. Weights are normal with deviation 0.02,
// gains near 1. Streamed: memory does not grow with the model. The tokenizer
// knows single bytes; the other ids are fillers.

import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const TABLE = 1 << 16; // random numbers are drawn from so many
const PIECE = 1 << 20; // elements written at a time

/** @typedef {{ name: string, shape: number[], mean: number, deviation: number }} Tensor */

/** Marsaglia's xorshift, 32 bits a call. @param {number} seed */
function generator(seed) {
  let s = (seed * 2654435761 + 0x9e3779b9) >>> 0 || 1;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    s >>>= 0;
    return s;
  };
}

/** Standard normal numbers, by Box and Muller. @param {() => number} next */
function normalTable(next) {
  const table = new Float32Array(TABLE);
  for (let i = 0; i < TABLE; i += 2) {
    const r = Math.sqrt(-2 * Math.log((next() + 1) / 4294967297));
    const angle = (2 * Math.PI * next()) / 4294967296;
    table[i] = r * Math.cos(angle);
    table[i + 1] = r * Math.sin(angle);
  }
  return table;
}

/** The bits of v as F16 (normal range, cut off). @param {number} bits of v as F32 */
function toF16(bits) {
  const exponent = ((bits >>> 23) & 0xff) - 112;
  const sign = (bits >>> 16) & 0x8000;
  if (exponent <= 0) return sign;
  return sign | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

/**
 * The table scaled for one tensor, as the dtype's bits.
 * @param {Float32Array} normal @param {Tensor} t @param {string} dtype
 */
function valueTable(normal, t, dtype) {
  const floats = normal.map((v) => t.mean + v * t.deviation);
  const bits = new Uint32Array(floats.buffer);
  if (dtype === 'F32') return bits;
  return Uint16Array.from(bits, dtype === 'BF16' ? (b) => b >>> 16 : toF16);
}

/** @param {string} name @param {number[]} shape @returns {Tensor} */
const matrix = (name, ...shape) => ({ name, shape, mean: 0, deviation: 0.02 });
/** @param {string} name @param {number} n @returns {Tensor} */
const gain = (name, n) => ({ name, shape: [n], mean: 1, deviation: 0.1 });

/** @typedef {{ family: string, layers: number, width: number, heads: number, kvHeads: number, hidden: number, vocab: number, context: number }} Shape */

/** @param {Shape} s @returns {Tensor[]} */
function gpt2Tensors(s) {
  const d = s.width;
  const out = [matrix('transformer.wte.weight', s.vocab, d), matrix('transformer.wpe.weight', s.context, d)];
  for (let i = 0; i < s.layers; i++) {
    const p = `transformer.h.${i}.`;
    out.push(
      gain(`${p}ln_1.weight`, d), matrix(`${p}ln_1.bias`, d),
      matrix(`${p}attn.c_attn.weight`, d, 3 * d), matrix(`${p}attn.c_attn.bias`, 3 * d),
      matrix(`${p}attn.c_proj.weight`, d, d), matrix(`${p}attn.c_proj.bias`, d),
      gain(`${p}ln_2.weight`, d), matrix(`${p}ln_2.bias`, d),
      matrix(`${p}mlp.c_fc.weight`, d, s.hidden), matrix(`${p}mlp.c_fc.bias`, s.hidden),
      matrix(`${p}mlp.c_proj.weight`, s.hidden, d), matrix(`${p}mlp.c_proj.bias`, d),
    );
  }
  out.push(gain('transformer.ln_f.weight', d), matrix('transformer.ln_f.bias', d));
  return out;
}

/** @param {Shape} s @returns {Tensor[]} */
function llamaTensors(s) {
  const d = s.width;
  const kv = (d / s.heads) * s.kvHeads;
  const out = [matrix('model.embed_tokens.weight', s.vocab, d)];
  for (let i = 0; i < s.layers; i++) {
    const p = `model.layers.${i}.`;
    out.push(gain(`${p}input_layernorm.weight`, d));
    for (const [name, rows] of /** @type {[string, number][]} */ ([['q', d], ['k', kv], ['v', kv]])) {
      out.push(matrix(`${p}self_attn.${name}_proj.weight`, rows, d));
      if (s.family === 'qwen2') out.push(matrix(`${p}self_attn.${name}_proj.bias`, rows));
    }
    out.push(
      matrix(`${p}self_attn.o_proj.weight`, d, d), gain(`${p}post_attention_layernorm.weight`, d),
      matrix(`${p}mlp.gate_proj.weight`, s.hidden, d), matrix(`${p}mlp.up_proj.weight`, s.hidden, d),
      matrix(`${p}mlp.down_proj.weight`, d, s.hidden),
    );
  }
  out.push(gain('model.norm.weight', d), matrix('lm_head.weight', s.vocab, d));
  return out;
}

/** @param {Shape} s @param {string} dtype */
function config(s, dtype) {
  const names = { BF16: 'bfloat16', F16: 'float16', F32: 'float32' };
  const common = { model_type: s.family, vocab_size: s.vocab, eos_token_id: 256, dtype: names[/** @type {'BF16'} */ (dtype)] };
  if (s.family === 'gpt2')
    return { ...common, n_layer: s.layers, n_embd: s.width, n_head: s.heads, n_positions: s.context, n_inner: s.hidden, activation_function: 'gelu_new' };
  return {
    ...common, num_hidden_layers: s.layers, hidden_size: s.width, num_attention_heads: s.heads, num_key_value_heads: s.kvHeads,
    intermediate_size: s.hidden, max_position_embeddings: s.context, hidden_act: 'silu', rms_norm_eps: 1e-5,
    rope_theta: 10000.0, tie_word_embeddings: false,
  };
}

/** The letters that byte-level BPE writes bytes with. */
function byteLetters() {
  const plain = (/** @type {number} */ b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(plain(b) ? b : next++));
}

/** @param {number} n */
function tokenizer(n) {
  const end = '<|endoftext|>';
  const vocab = Object.fromEntries(byteLetters().map((letter, id) => [letter, id]));
  vocab[end] = 256;
  for (let id = 257; id < n; id++) vocab[`filler${id}`] = id;
  const level = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0', truncation: null, padding: null,
    added_tokens: [{ id: 256, content: end, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }],
    normalizer: null, pre_tokenizer: level, post_processor: null, decoder: level,
    model: { type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: '', end_of_word_suffix: '', fuse_unk: false, byte_fallback: false, vocab, merges: [] },
  };
}

/**
 * @param {string} path @param {Tensor[]} tensors @param {string} dtype
 * @param {Float32Array} normal @param {() => number} next
 */
function writeFile(path, tensors, dtype, normal, next) {
  const size = dtype === 'F32' ? 4 : 2;
  const counts = tensors.map((t) => t.shape.reduce((a, b) => a * b, 1));
  let at = 0;
  /** @type {Record<string, object>} */
  const header = { __metadata__: { format: 'pt' } };
  tensors.forEach((t, i) => {
    header[t.name] = { dtype, shape: t.shape, data_offsets: [at, at + counts[i] * size] };
    at += counts[i] * size;
  });
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const fd = openSync(path, 'w');
  writeSync(fd, length);
  writeSync(fd, json);
  tensors.forEach((t, i) => {
    const values = valueTable(normal, t, dtype);
    for (let done = 0; done < counts[i]; done += PIECE) {
      const n = Math.min(PIECE, counts[i] - done);
      const piece = dtype === 'F32' ? new Uint32Array(n) : new Uint16Array(n);
      for (let k = 0; k < n; k++) piece[k] = values[next() & (TABLE - 1)];
      const bytes = Buffer.from(piece.buffer);
      for (let from = 0; from < bytes.length;) from += writeSync(fd, bytes, from);
    }
  });
  closeSync(fd);
  return 8 + json.length + at;
}

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    family: { type: 'string', default: 'gpt2' }, layers: { type: 'string', default: '12' },
    width: { type: 'string', default: '768' }, heads: { type: 'string', default: '12' },
    'kv-heads': { type: 'string' }, hidden: { type: 'string' }, vocab: { type: 'string', default: '50257' },
    context: { type: 'string', default: '1024' }, dtype: { type: 'string', default: 'BF16' },
    files: { type: 'string', default: '1' }, seed: { type: 'string', default: '1' },
  },
});
if (positionals.length !== 1) {
  console.error('usage: make_model.mjs OUT_DIR [options]; the head of the file lists them');
  process.exit(2);
}
const dir = positionals[0];
/** @type {Shape} */
const shape = {
  family: args.family, layers: Number(args.layers), width: Number(args.width), heads: Number(args.heads),
  kvHeads: Number(args['kv-heads'] ?? args.heads), hidden: Number(args.hidden ?? 4 * Number(args.width)),
  vocab: Number(args.vocab), context: Number(args.context),
};
const next = generator(Number(args.seed));
const normal = normalTable(next);
const tensors = shape.family === 'gpt2' ? gpt2Tensors(shape) : llamaTensors(shape);
const nFiles = Number(args.files);

mkdirSync(dir, { recursive: true });
writeFileSync(join(dir, 'config.json'), JSON.stringify(config(shape, args.dtype), null, 2));
writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify(tokenizer(shape.vocab)));
/** @type {Record<string, string>} */
const map = {};
let total = 0;
for (let i = 0; i < nFiles; i++) {
  const part = tensors.slice(Math.floor((i * tensors.length) / nFiles), Math.floor(((i + 1) * tensors.length) / nFiles));
  const pad = (/** @type {number} */ n) => String(n).padStart(5, '0');
  const name = nFiles === 1 ? 'model.safetensors' : `model-${pad(i + 1)}-of-${pad(nFiles)}.safetensors`;
  total += writeFile(join(dir, name), part, args.dtype, normal, next);
  for (const t of part) map[t.name] = name;
}
if (nFiles > 1)
  writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ metadata: { total_size: total }, weight_map: map }));
console.log(`${dir}: ${tensors.length} tensors, ${(total / 1e6).toFixed(1)} MB`);
