// gguf.mjs - writes a GPT-2 of any shape with random Q8_0 weights as GGUF, for
// the peers: the same shape and cost as a real model of that size.
//
//   node gguf.mjs OUT [width layers heads context vocabulary]
// @ts-check

import { closeSync, openSync, statSync, writeSync } from 'node:fs';

const F32 = 0, Q8_0 = 8; // tensor types of GGUF
const U32 = 4, I32 = 5, FLOAT = 6, STRING = 8, ARRAY = 9; // value types of GGUF
const ALIGN = 32;
const Q8_BLOCK = 32; // weights a block, stored as an f16 scale and so many int8
const SCALE_F16 = 0x0800; // 2^-13: weights about as large as trained ones

/** @param {number} v */
const u32 = (v) => {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(v);
  return b;
};
/** @param {number} v */
const u64 = (v) => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64LE(BigInt(v));
  return b;
};
/** @param {number} v */
const f32 = (v) => {
  const b = Buffer.alloc(4);
  b.writeFloatLE(v);
  return b;
};
/** @param {string} s */
const string = (s) => {
  const b = Buffer.from(s);
  return Buffer.concat([u64(b.length), b]);
};

/** GPT-2's printable stand-ins for the 256 bytes. */
function byteTokens() {
  const printable = (/** @type {number} */ b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}

/** A vocabulary of n tokens: bytes, pairs of letters with their merges, fillers.
 * @param {number} n */
function vocabulary(n) {
  const tokens = byteTokens(), merges = [];
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  for (const a of letters) {
    for (const b of letters) {
      tokens.push(a + b);
      merges.push(`${a} ${b}`);
    }
  }
  while (tokens.length < n - 1) tokens.push(`[t${tokens.length}]`);
  tokens.push('<|endoftext|>');
  return { tokens, merges };
}

let state = 12345;
function random() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state >>> 24;
}

/** @param {number} n weights */
function randomQ8(n) {
  const out = Buffer.alloc((n / Q8_BLOCK) * (2 + Q8_BLOCK));
  for (let at = 0; at < out.length; at += 2 + Q8_BLOCK) {
    out.writeUInt16LE(SCALE_F16, at);
    for (let i = 0; i < Q8_BLOCK; i++) out.writeInt8(random() - 128 || 1, at + 2 + i);
  }
  return out;
}

/** @param {number} n @param {number} value */
const constant = (n, value) => Buffer.from(new Float32Array(n).fill(value).buffer);

/** @param {string} out @param {{width: number, layers: number, heads: number, context: number, vocab: number}} shape */
export function writeGguf(out, { width: d, layers, heads, context, vocab }) {
  const { tokens, merges } = vocabulary(vocab);
  /** @type {Buffer[]} */
  const values = [];
  const value = (/** @type {string} */ key, /** @type {number} */ type, /** @type {Buffer} */ data) =>
    values.push(Buffer.concat([string(key), u32(type), data]));
  const list = (/** @type {number} */ type, /** @type {Buffer[]} */ items) =>
    Buffer.concat([u32(type), u64(items.length), ...items]);

  value('general.architecture', STRING, string('gpt2'));
  value('general.name', STRING, string('bench'));
  value('general.alignment', U32, u32(ALIGN));
  value('gpt2.context_length', U32, u32(context));
  value('gpt2.embedding_length', U32, u32(d));
  value('gpt2.feed_forward_length', U32, u32(4 * d));
  value('gpt2.block_count', U32, u32(layers));
  value('gpt2.attention.head_count', U32, u32(heads));
  value('gpt2.attention.layer_norm_epsilon', FLOAT, f32(1e-5));
  value('tokenizer.ggml.model', STRING, string('gpt2'));
  value('tokenizer.ggml.pre', STRING, string('gpt-2'));
  value('tokenizer.ggml.bos_token_id', U32, u32(vocab - 1));
  value('tokenizer.ggml.eos_token_id', U32, u32(vocab - 1));
  value('tokenizer.ggml.tokens', ARRAY, list(STRING, tokens.map(string)));
  value('tokenizer.ggml.token_type', ARRAY, list(I32, tokens.map((_, i) => u32(i === vocab - 1 ? 3 : 1))));
  value('tokenizer.ggml.merges', ARRAY, list(STRING, merges.map(string)));

  /** @type {{name: string, dims: number[], type: number, fill: number}[]} */
  const tensors = [];
  const vector = (/** @type {string} */ name, /** @type {number} */ n, fill = 0) =>
    tensors.push({ name, dims: [n], type: F32, fill });
  const matrix = (/** @type {string} */ name, /** @type {number} */ rows, /** @type {number} */ columns) =>
    tensors.push({ name, dims: [columns, rows], type: Q8_0, fill: 0 });

  matrix('token_embd.weight', vocab, d);
  tensors.push({ name: 'position_embd.weight', dims: [d, context], type: F32, fill: 0.001 });
  for (let l = 0; l < layers; l++) {
    const name = (/** @type {string} */ part) => `blk.${l}.${part}`;
    for (const norm of ['attn_norm', 'ffn_norm']) {
      vector(name(`${norm}.weight`), d, 1);
      vector(name(`${norm}.bias`), d);
    }
    for (const [part, rows, columns] of /** @type {[string, number, number][]} */ ([
      ['attn_qkv', 3 * d, d], ['attn_output', d, d], ['ffn_up', 4 * d, d], ['ffn_down', d, 4 * d],
    ])) {
      matrix(name(`${part}.weight`), rows, columns);
      vector(name(`${part}.bias`), rows);
    }
  }
  vector('output_norm.weight', d, 1);
  vector('output_norm.bias', d);

  const count = (/** @type {{dims: number[]}} */ t) => t.dims.reduce((a, b) => a * b, 1);
  const size = (/** @type {(typeof tensors)[0]} */ t) =>
    t.type === Q8_0 ? (count(t) / Q8_BLOCK) * (2 + Q8_BLOCK) : count(t) * 4;
  const padded = (/** @type {number} */ n) => Math.ceil(n / ALIGN) * ALIGN;

  let offset = 0;
  const entries = tensors.map((t) => {
    const entry = Buffer.concat([string(t.name), u32(t.dims.length), ...t.dims.map(u64), u32(t.type), u64(offset)]);
    offset += padded(size(t));
    return entry;
  });
  const head = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(values.length), ...values, ...entries]);

  const file = openSync(out, 'w');
  writeSync(file, head);
  writeSync(file, Buffer.alloc(padded(head.length) - head.length));
  for (const t of tensors) {
    writeSync(file, t.type === Q8_0 ? randomQ8(count(t)) : constant(count(t), t.fill));
    writeSync(file, Buffer.alloc(padded(size(t)) - size(t)));
  }
  closeSync(file);
  return statSync(out).size;
}

if (process.argv[1] === import.meta.filename) {
  const [out, width = 768, layers = 12, heads = 12, context = 1024, vocab = 50257] = process.argv
    .slice(2)
    .map((v, i) => (i ? Number(v) : v));
  if (typeof out !== 'string') throw new Error('usage: gguf.mjs OUT [width layers heads context vocabulary]');
  const shape = /** @type {any} */ ({ width, layers, heads, context, vocab });
  console.log(out, writeGguf(out, shape), 'bytes');
}
