// test_loading.mjs - a model of GPT-2 124M's shape is in memory once: while it
// is read and hashed, and when units run.
// @ts-check

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';

import { BENCH_ID, benchAsks, benchShard, benchUnit } from '../../volunteer/web/bench_model.mjs';
import { ShardMismatch, WasmEngine } from '../../volunteer/web/engine_wasm.mjs';

const SHAPE = { layers: 12, width: 768, heads: 12, vocab: 50257, context: 1024 };
const KV_PAGE_BYTES = 64 * 2 * SHAPE.width * SHAPE.layers; // of one sequence's 64 positions
const PIECE = 4 << 20;
const MORE = 1.1; // of the shard's bytes, for the module, scratch and answers

const root = path.resolve(import.meta.dirname, '../..');
const wasm = readFileSync(path.resolve(root, process.env.SYNAPSE_WASM ?? 'build/wasm', 'synapse-simd.wasm'));

/** A file that counts what is read of it and not yet given out. */
class Watched extends Blob {
  open = 0;
  most = 0;
  /** @param {number} from @param {number} to */
  slice(from, to) {
    const part = super.slice(from, to);
    return Object.assign(part, {
      arrayBuffer: async () => {
        this.open += part.size;
        this.most = Math.max(this.most, this.open);
        const bytes = await Blob.prototype.arrayBuffer.call(part);
        this.open -= part.size;
        return bytes;
      },
    });
  }

  /** @returns {Promise<ArrayBuffer>} */
  arrayBuffer() {
    throw new Error('the whole file is read at once');
  }
}

test('a model is held once while it is loaded and when it computes', async () => {
  const blob = benchShard(SHAPE);
  const sha256 = createHash('sha256').update(new Uint8Array(await blob.arrayBuffer())).digest('hex');
  const watched = new Watched([blob]);
  const engine = await WasmEngine.start(wasm, 'wasm-simd');
  let done = 0;
  const { digest } = crypto.subtle;
  crypto.subtle.digest = (name, data) => {
    assert.ok(data.byteLength <= PIECE, `${data.byteLength} bytes are copied to be hashed`);
    return digest.call(crypto.subtle, name, data);
  };
  try {
    await engine.load(BENCH_ID, [{ name: 'shard', blob: watched, sha256 }], 1e9, (n) => { done = n; });
  } finally {
    crypto.subtle.digest = digest;
  }
  assert.equal(done, blob.size);
  assert.ok(watched.most <= 2 * PIECE, `${watched.most} bytes were read ahead`);
  assert.ok(engine.bytes() < MORE * blob.size, `${engine.bytes()} bytes after loading ${blob.size}`);
  for (let n = 1; n <= 4; n++) engine.run(benchUnit(benchAsks(n, 8, 2, SHAPE.vocab)));
  assert.ok(engine.bytes() < MORE * blob.size + 4 * KV_PAGE_BYTES, `${engine.bytes()} bytes after units`);
});

/** @param {Uint8Array<ArrayBuffer>} bytes @param {number} at */
function damage(bytes, at) {
  const damaged = bytes.slice();
  damaged[at] ^= 1;
  return new Blob([damaged]);
}

test('a file that was damaged anywhere is found out', async () => {
  const bytes = new Uint8Array(2 * PIECE + 5);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const engine = await WasmEngine.start(wasm, 'wasm-simd');
  const read = (/** @type {Blob} */ blob, /** @type {any} */ pieces) =>
    engine.read({ name: 'x', blob, sha256, pieces }, () => {}).then((base) => engine.wasm.host_dealloc(base));
  const places = [0, PIECE - 1, PIECE, 2 * PIECE + 4];
  for (const at of places) await assert.rejects(read(damage(bytes, at), null), ShardMismatch);
  assert.equal(engine.noted.length, 0, 'nothing is noted of a file that is not right');
  await read(new Blob([bytes]), null);
  assert.equal(engine.noted.length, 1);
  const [, pieces] = engine.noted[0];
  for (const at of places) await assert.rejects(read(damage(bytes, at), pieces), ShardMismatch);
  await read(new Blob([bytes]), { ...pieces, sha256: pieces.sha256.slice(1) }); // not of this file: hashed whole
  await read(new Blob([bytes]), { ...pieces, bytes: 1000 });
  assert.equal(engine.noted.length, 3);
  engine.wasm = { ...engine.wasm, host_sha256_add: () => assert.fail('the module hashes what the browser can') };
  await read(new Blob([bytes]), pieces);
});
