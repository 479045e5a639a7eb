// spans.mjs - shards of a split model, alone and together, on the
// WebGPU engine: rows in and out in wire form, prints only, rollbacks and missing
// rows give the bytes of the C engine; and what is not for the shards that are
// there is refused, or left to WASM.
// @ts-check

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { crc32c } from '../../volunteer/web/crc32c.mjs';
import { EnginePair } from '../../volunteer/web/engine_pair.mjs';
import { WasmEngine } from '../../volunteer/web/engine_wasm.mjs';
import { CRC_LEN, HEADER_LEN, Syn1Error } from '../../volunteer/web/syn1.mjs';
import { root } from '../web/webgpu_node.mjs';

const MODEL = '00'.repeat(32);
const TOKENS = 1;
const ROWS = 2;
const PRINTS_ONLY = 4;

/**
 * @typedef {object} Ask
 * @property {bigint} id
 * @property {number} [epoch]
 * @property {number} first
 * @property {number} [valid]
 * @property {number[]} [tokens]
 * @property {Uint8Array} [rows]   in wire form
 * @property {number} n            rows
 * @property {number} [predict]
 * @property {number} [maxNew]
 */

/**
 * @param {[number, number]} span
 * @param {number} flags
 * @param {number} dim
 * @param {Ask[]} asks
 * @param {number} kernelClass
 */
function unitOf([first, end], flags, dim, asks, kernelClass = 0) {
  const parts = asks.map((a) => {
    const head = Buffer.alloc(72);
    head.writeBigUInt64LE(a.id);
    [a.epoch ?? 0, a.first, a.n, a.valid ?? a.first, a.predict ?? 0, a.maxNew ?? 0, a.first + a.n].forEach((v, i) => head.writeUInt32LE(v, 8 + 4 * i));
    head.writeUInt32LE(65536, 40); // top_p
    const tokens = flags & TOKENS ? Uint32Array.from(a.tokens ?? []) : new Uint32Array();
    return Buffer.concat([head, Buffer.from(tokens.buffer), flags & ROWS ? a.rows ?? Buffer.alloc(0) : Buffer.alloc(0)]);
  });
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(HEADER_LEN);
  header.writeUInt32LE(0x314e5953, 0);
  header.writeUInt8(1, 4);
  header.writeUInt8(1, 5);
  header.writeUInt16LE(flags, 6);
  header.writeUInt16LE(first, 24);
  header.writeUInt16LE(end, 26);
  header.writeUInt16LE(asks.length, 28);
  header.writeUInt8(kernelClass, 30);
  header.writeUInt32LE(flags & ROWS ? dim : 0, 52);
  header.writeUInt32LE(77, 56); // fingerprint seed
  header.writeUInt32LE(body.length, 72);
  const frame = Buffer.concat([header, body, Buffer.alloc(CRC_LEN)]);
  frame.writeUInt32LE(crc32c(frame.subarray(0, -CRC_LEN)), frame.length - CRC_LEN);
  return new Uint8Array(frame);
}

/**
 * The rows that each sequence of a result has.
 * @param {Uint8Array} result
 * @param {number} rowLen
 * @returns {Uint8Array[]}
 */
function rowsOf(result, rowLen) {
  const v = new DataView(result.buffer, result.byteOffset, result.byteLength);
  const out = [];
  for (let at = HEADER_LEN; at < result.length - CRC_LEN;) {
    const [nRows, nTokens, nPrints] = [16, 20, 24].map((o) => v.getUint32(at + o, true));
    out.push(result.slice(at + 32, at + 32 + nRows * rowLen));
    at += 32 + nRows * rowLen + 4 * nTokens + 16 * nPrints;
  }
  return out;
}

/** @param {Uint8Array} frame  without its compute time and its checksum */
const bare = (frame) => Buffer.concat([frame.subarray(0, 64), frame.subarray(72, -CRC_LEN)]);

const wasmFile = readFileSync(path.resolve(root, process.env.SYNAPSE_WASM ?? 'build/wasm', 'synapse-simd.wasm'));

/**
 * @param {() => import('../../volunteer/web/webgpu_engine.mjs').WebGpuEngine} newEngine  on one device
 * @param {import('./frames.mjs').ShardBlob[]} shards  three
 */
export async function checkSpans(newEngine, shards) {
  /** @param {[number, number]} span */
  const pairOf = async ([first, end]) => {
    const own = shards.slice(first, end);
    const engine = newEngine();
    await engine.load(MODEL, own, 64e6, () => {});
    const twin = await WasmEngine.start(wasmFile, 'wasm');
    await twin.load(MODEL, own, 64e6, () => {});
    const dim = engine.config.dModel;
    /** @param {number} flags @param {Ask[]} asks */
    const ask = async (flags, asks, kernelClass = 0) => {
      const unit = unitOf([first, end], flags, dim, asks, kernelClass);
      assert.ok(engine.supports(unit));
      const [ours, theirs] = [await engine.run(unit), twin.run(unit)];
      assert.deepEqual(bare(ours), bare(theirs), `span ${first}..${end}, flags ${flags}`);
      return rowsOf(ours, dim + Math.ceil(dim / 32));
    };
    return { engine, dim, ask };
  };
  const [start, middle, end] = [await pairOf([0, 1]), await pairOf([1, 2]), await pairOf([2, 3])];
  // Two sequences: prompts; one row each; and one rolled back, beside one whose rows are not there.
  const steps = [
    [{ id: 1n, first: 0, n: 5, tokens: [3, 1, 4, 1, 5] }, { id: 2n, first: 0, n: 70, tokens: Array.from({ length: 70 }, (_, i) => i) }],
    [{ id: 1n, first: 5, n: 1, tokens: [9] }, { id: 2n, first: 70, n: 1, tokens: [2] }],
    [{ id: 1n, first: 3, n: 2, tokens: [6, 5], epoch: 1 }, { id: 2n, first: 90, n: 1, tokens: [2] }],
  ];
  for (const asks of steps) {
    const one = await start.ask(TOKENS, asks);
    const give = (/** @type {Uint8Array[]} */ rows) => asks.flatMap((a, i) => (rows[i].length ? [{ ...a, rows: rows[i] }] : []));
    const two = await middle.ask(ROWS | TOKENS, give(one));
    const last = give(one).map((a, i) => ({ ...a, rows: two[i] }));
    await end.ask(ROWS, last.map((a) => ({ ...a, predict: 1, maxNew: 1 })));
  }
  // A check: the same again under prints only, on shards that are together.
  const rows = await start.ask(TOKENS, [{ ...steps[0][0], id: 8n }]);
  await start.ask(TOKENS | PRINTS_ONLY, [{ ...steps[0][0], id: 9n }]);
  // And one of rows that another class computed: tolerant fingerprints, of this position and of later ones.
  await start.ask(TOKENS | PRINTS_ONLY, [{ ...steps[0][0], id: 10n }, { ...steps[0][1], id: 11n }], 1);
  await start.ask(TOKENS | PRINTS_ONLY, [{ ...steps[1][1], id: 11n }], 1);
  assert.ok(!end.engine.supports(unitOf([2, 3], ROWS, end.dim, [{ ...steps[0][0], rows: rows[0] }], 1)), 'the head is of one class');
  const both = await pairOf([1, 3]);
  await both.ask(ROWS | TOKENS, [{ ...steps[0][0], id: 9n, rows: rows[0], predict: 5 }]);

  const odd = /** @type {[number, Ask][]} */ ([
    [ROWS, { id: 5n, first: 0, n: 1, rows: new Uint8Array(rows[0].length / 5).fill(128) }],
    [TOKENS, { id: 5n, first: 0, n: 1, tokens: [1] }],
    [ROWS, { id: 5n, first: 0, n: 1, rows: rows[0].subarray(0, rows[0].length / 5), predict: 1 }],
  ]);
  for (const [flags, ask] of odd)
    await assert.rejects(middle.engine.run(unitOf([1, 2], flags, middle.dim, [ask])), Syn1Error);

  // What is not for these shards goes to WASM, whose word it is then.
  const pair = new EnginePair(await WasmEngine.start(wasmFile, 'wasm'), middle.engine, () => {});
  await pair.load(MODEL, shards.slice(1, 2), 64e6, () => {});
  assert.equal(pair.backend, 'webgpu');
  await assert.rejects(pair.run(unitOf([0, 3], TOKENS, 0, [steps[0][0]])), /refused/);
  await pair.run(unitOf([1, 2], ROWS, middle.dim, [{ ...steps[0][0], rows: rows[0] }]));
  assert.equal(pair.backend, 'webgpu');
}
