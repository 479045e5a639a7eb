// @ts-check
// bench_model.mjs - models of any shape with pseudo-random weights, and units
// for them: what an engine is timed with before it has a model of the grid's.
// What comes out is nonsense, but the same nonsense on every engine.

import { crc32c } from "./crc32c.mjs";
import { CRC_LEN, fromHex, HEADER_LEN } from "./syn1.mjs";

export const BENCH_ID = "62".repeat(32);
const SEQ_LEN = 72;
const ONE = (1 << 30) - (1 << 16);

/**
 * @typedef {object} Shape   of a GPT-2
 * @property {number} layers
 * @property {number} width
 * @property {number} heads
 * @property {number} vocab
 * @property {number} context
 *
 * @typedef {object} Ask     one sequence of a unit
 * @property {bigint} id
 * @property {number} first
 * @property {number[]} tokens
 * @property {number} predict
 * @property {number} maxNew
 * @property {number} [invTemp]  Q16, 0: greedy
 * @property {number} [topP]     Q16
 * @property {bigint} [seed]
 */

/** xorshift32, from a seed of its own for each tensor. @param {number} seed */
function noise(seed) {
  let x = (seed * 2654435761 + 12345) >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** @param {number} n @param {(i: number) => number} f */
const words = (n, f) => Int32Array.from({ length: n }, (_, i) => f(i));

/** @param {number} n @param {number} seed */
function weights(n, seed) {
  const next = noise(seed);
  const out = new Uint8Array(n);
  const block = Uint8Array.from({ length: Math.min(n, 65521) }, () => 1 + (next() % 127));
  for (let at = 0; at < n; at += block.length) out.set(block.subarray(0, n - at), at);
  return out;
}

/**
 * @param {Shape} s
 * @returns {[string, string, number[], ArrayBufferView<ArrayBuffer>][]} name, type, dims, data
 */
function tensors(s) {
  const d = s.width;
  /** @type {[string, string, number[], ArrayBufferView<ArrayBuffer>][]} */
  const all = [];
  const i32 = (/** @type {string} */ name, /** @type {number[]} */ dims, /** @type {Int32Array<ArrayBuffer>} */ data) =>
    all.push([name, "I32", dims, data]);
  const tiles = (/** @type {string} */ name, /** @type {number} */ rows, /** @type {number} */ cols) => {
    const [blocks, groups] = [Math.ceil(rows / 16), Math.ceil(cols / 64)];
    all.push([`${name}.w`, "I8", [blocks, groups, 1024], weights(blocks * groups * 1024, all.length)]);
    all.push([`${name}.m`, "U8", [blocks, groups, 16], new Uint8Array(blocks * groups * 16).fill(140)]);
    return blocks * 16;
  };
  const matrix = (/** @type {string} */ name, /** @type {number} */ rows, /** @type {number} */ cols, /** @type {number} */ exp) => {
    const n = tiles(name, rows, cols);
    i32(`${name}.e`, [n], words(n, () => exp));
    i32(`${name}.b`, [n], words(n, (i) => (i * 37) % 1024));
  };
  const norm = (/** @type {string} */ name) => {
    i32(`${name}.g`, [d], words(d, () => 65536));
    i32(`${name}.b`, [d], words(d, (i) => (i % 13) * 100));
  };
  const hidden = 4 * d;
  i32("config", [40], words(40, (i) => [
    0x53594e43, 1, 1, 1, s.layers, d, s.heads, s.heads, d / s.heads, hidden, s.vocab, s.context, 1, 1, 0, 0, s.layers, 16, 42949, 0,
  ][i] ?? 0));
  i32("exp2", [4096], words(4096, (i) => Math.round(ONE * 2 ** (-i / 4096))));
  i32("act", [4097], words(4097, (i) => Math.max(0, (i - 2048) * 512)));
  const vocab = tiles("embed", s.vocab, d);
  i32("embed.e", [vocab], words(vocab, () => 2));
  i32("position", [s.context, d], words(s.context * d, (i) => ((i * 7919) % 65536) - 32768));
  for (let l = 0; l < s.layers; l++) {
    i32(`layers.${l}.fixed`, [4], words(4, () => 16));
    norm(`layers.${l}.norm1`);
    matrix(`layers.${l}.qkv`, 3 * d, d, -16);
    matrix(`layers.${l}.o`, d, d, -16);
    norm(`layers.${l}.norm2`);
    matrix(`layers.${l}.up`, hidden, d, -16);
    matrix(`layers.${l}.down`, d, hidden, -17);
  }
  norm("norm");
  i32("head.e", [vocab], words(vocab, () => -16));
  i32("head.b", [vocab], words(vocab, () => 0));
  i32("log2", [1025], words(1025, (i) => Math.round(2 ** 24 * Math.log2(1 + i / 1024))));
  i32("logh", [257], words(257, (i) => (i ? Math.round(2 ** 24 * Math.log(-Math.log(1 - i / 512) / (i / 512))) : 0)));
  return all;
}

/**
 * A shard that is a whole model.
 * @param {Shape} shape
 */
export function benchShard(shape) {
  const all = tensors(shape);
  const align = (/** @type {number} */ n) => Math.ceil(n / 64) * 64;
  let at = 0;
  const header = Object.fromEntries(all.map(([name, dtype, dims, data]) => {
    const entry = { dtype, shape: dims, data_offsets: [at, at + data.byteLength] };
    at = align(at + data.byteLength);
    return [name, entry];
  }));
  const text = new TextEncoder().encode(JSON.stringify(header));
  const head = new Uint8Array(align(8 + text.length)).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(text, 8);
  const parts = all.flatMap(([, , , data]) => [data, new Uint8Array(align(data.byteLength) - data.byteLength)]);
  return new Blob([head, ...parts]);
}

/**
 * A unit frame for a whole model of one shard.
 * @param {Ask[]} asks
 * @param {string} [model]  hex of its id
 */
export function benchUnit(asks, model = BENCH_ID) {
  const body = asks.reduce((n, a) => n + SEQ_LEN + 4 * a.tokens.length, 0);
  const frame = new Uint8Array(HEADER_LEN + body + CRC_LEN);
  const v = new DataView(frame.buffer);
  v.setUint32(0, 0x314e5953, true);
  frame[4] = 1;
  frame[5] = 1;
  v.setUint16(6, 1, true);
  frame.set(fromHex(model.slice(0, 32)), 8);
  v.setUint16(26, 1, true);
  v.setUint16(28, asks.length, true);
  v.setUint32(56, 42, true);
  v.setUint32(72, body, true);
  let at = HEADER_LEN;
  for (const a of asks) {
    v.setBigUint64(at, a.id, true);
    v.setUint32(at + 12, a.first, true);
    v.setUint32(at + 16, a.tokens.length, true);
    v.setUint32(at + 20, a.first, true);
    v.setUint32(at + 24, a.predict, true);
    v.setUint32(at + 28, a.maxNew, true);
    v.setUint32(at + 32, a.first + a.tokens.length, true);
    v.setUint32(at + 36, a.invTemp ?? 0, true);
    v.setUint32(at + 40, a.topP ?? 65536, true);
    v.setBigUint64(at + 48, a.seed ?? 0n, true);
    frame[at + 64] = 2; // end tokens do not end it
    at += SEQ_LEN;
    for (const token of a.tokens) {
      v.setUint32(at, token, true);
      at += 4;
    }
  }
  v.setUint32(at, crc32c(frame.subarray(0, at)), true);
  return frame;
}

/**
 * Sequences of the same kind, each from its first position.
 * @param {number} n
 * @param {number} rows
 * @param {number} maxNew
 * @param {number} vocab
 * @param {Partial<Ask>} [more]
 * @returns {Ask[]}
 */
export function benchAsks(n, rows, maxNew, vocab, more = {}) {
  return Array.from({ length: n }, (_, s) => ({
    id: BigInt(s + 1), first: 0, tokens: Array.from({ length: rows }, (_, i) => (i * 7919 + s * 104729 + 13) % vocab),
    predict: 0, maxNew, ...more,
  }));
}
