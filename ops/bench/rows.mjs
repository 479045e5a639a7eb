// rows.mjs - honest rows: the native scalar reference beside native AVX2 and
// beside the WASM engine, in Node. Equal bytes or a false reject.
//
//   node ops/bench/rows.mjs [PIECES]
//
// PIECES (1968) of 512 rows each; a tab-separated line for each pair: name,
// rejects, limit, ratio, bar, ok or short. Needs `rows` of the release preset and
// the modules of the wasm preset.
// @ts-check

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PRINT = 16;
const PIECE_LEN = 512 * PRINT;
const ISA = { 'twins-simd.wasm': 5, 'twins-relaxed.wasm': 6 }; // enum engine_isa

/** @param {string} set kernels @param {number} first @param {number} pieces @returns {Promise<Buffer>} */
async function native(set, first, pieces) {
  const child = spawn(path.join(ROOT, 'build/release/ops/bench/rows'), [set, String(first), String(pieces)],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  /** @type {Buffer[]} */
  const parts = [];
  for await (const part of child.stdout) parts.push(part);
  const all = Buffer.concat(parts);
  if (all.length !== pieces * PIECE_LEN) throw new Error(`rows ${set} gave ${all.length} bytes`);
  return all;
}

/** Fingerprints by a module. @param {string} file @param {number} first @param {number} pieces */
async function wasm(file, first, pieces) {
  const module = await WebAssembly.compile(readFileSync(path.join(ROOT, 'build/wasm', file)));
  /** @type {Record<string, any>} */
  const imports = Object.fromEntries(WebAssembly.Module.imports(module).map(({ module: from }) => [from, {}]));
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module))
    imports[from][name] = kind === 'memory' ? undefined : () => 0;
  const { exports } = /** @type {any} */ (await WebAssembly.instantiate(module, imports));
  exports._initialize();
  const rows = exports.rows_new(ISA[/** @type {keyof ISA} */ (file)]);
  if (!rows) throw new Error(`${file} has no such kernels`);
  const out = Buffer.alloc(pieces * PIECE_LEN);
  for (let i = 0; i < pieces; i++) {
    const at = exports.rows_piece(rows, first + i) >>> 0;
    if (!at) throw new Error(`${file} failed at piece ${first + i}`);
    out.set(new Uint8Array(exports.memory.buffer, at, PIECE_LEN), i * PIECE_LEN);
  }
  return out;
}

/** A set of kernels over all pieces, by several threads or processes.
 * @param {string} set @param {number} pieces */
async function all(set, pieces) {
  const n = Math.min(availableParallelism(), pieces);
  const parts = Array.from({ length: n }, (_, i) => {
    const first = Math.floor((i * pieces) / n), end = Math.floor(((i + 1) * pieces) / n);
    if (!set.endsWith('.wasm')) return native(set, first, end - first);
    return new Promise((resolve, reject) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { set, first, pieces: end - first } });
      worker.on('message', (bytes) => resolve(Buffer.from(bytes)));
      worker.on('error', reject);
    });
  });
  return Buffer.concat(await Promise.all(parts));
}

/** Rows whose fingerprints differ. @param {Buffer} a @param {Buffer} b */
function rejects(a, b) {
  let n = 0;
  for (let at = 0; at < a.length; at += PRINT) n += a.compare(b, at, at + PRINT, at, at + PRINT) !== 0 ? 1 : 0;
  return n;
}

async function main() {
  const pieces = Number(process.argv[2] ?? 1968);
  const truth = await all('ref', pieces);
  for (const [name, set] of Object.entries({
    'native AVX2': 'avx2', WASM: 'twins-simd.wasm', 'WASM relaxed': 'twins-relaxed.wasm',
  })) {
    const bad = rejects(truth, await all(set, pieces));
    console.log([`honest rows, ${name} beside native scalar: false rejects in ${pieces * 512} rows`, bad, 0, '-', '= 0',
      bad ? 'short' : 'ok'].join('\t'));
    if (bad) process.exitCode = 1;
  }
}

if (isMainThread) await main();
else parentPort?.postMessage(await wasm(workerData.set, workerData.first, workerData.pieces));
