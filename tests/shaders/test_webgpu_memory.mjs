// test_webgpu_memory.mjs - weights are on the GPU once and nowhere else; KV keeps
// to what the volunteer allows; and matrices larger than a binding may be, which
// are held in parts, give the same bytes.
// @ts-check

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';

import { BENCH_ID, benchAsks, benchShard, benchUnit } from '../../volunteer/web/bench_model.mjs';
import { WasmEngine } from '../../volunteer/web/engine_wasm.mjs';
import { resultInfo } from '../../volunteer/web/syn1.mjs';
import { WebGpuEngine } from '../../volunteer/web/webgpu_engine.mjs';
import { openGpu, readShader, root } from '../web/webgpu_node.mjs';

const SHAPE = { layers: 1, width: 192, heads: 3, vocab: 1000, context: 192 };
const gpu = openGpu();
const newHasher = () => {
  const hash = createHash('sha256');
  return { update: (/** @type {Uint8Array} */ b) => void hash.update(b), hex: () => hash.digest('hex') };
};
const blob = benchShard(SHAPE);
const shard = { name: 'bench', blob, sha256: createHash('sha256').update(new Uint8Array(await blob.arrayBuffer())).digest('hex') };

/**
 * Bytes that JS holds below an object, the GPU's own and blobs left out.
 * @param {any} from
 * @param {Set<any>} [seen]
 * @returns {number}
 */
function heldBytes(from, seen = new Set()) {
  if (from === null || typeof from !== 'object' || seen.has(from) || from instanceof Blob) return 0;
  seen.add(from);
  if (ArrayBuffer.isView(from)) return from.byteLength;
  if (from instanceof ArrayBuffer) return from.byteLength;
  const inside = from instanceof Map ? [...from.values()] : Object.values(from);
  return inside.reduce((n, value) => n + heldBytes(value, seen), 0);
}

test('weights are on the GPU once, in parts if need be, and give the same bytes', async () => {
  const engine = await WebGpuEngine.start(gpu, { newHasher, read: readShader });
  engine.splitAt = 3 * 1024 * 40; // 40 of the 63 blocks of the vocabulary, and of the 48 of up
  const { device } = engine;
  /** @type {Map<string, number>} */
  const sizes = new Map();
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const label = descriptor.label ?? '';
    sizes.set(label, (sizes.get(label) ?? 0) + descriptor.size);
    return create(descriptor);
  };
  const budget = blob.size + 20e6;
  await engine.load(BENCH_ID, [shard], budget, () => {});
  // The head is tied: its tiles are the embedding's.
  assert.equal(sizes.get('embed.w'), 63 * 3 * 1024);
  assert.equal(sizes.has('head.w'), false);
  assert.equal(sizes.get('layers.0.up.w'), 48 * 3 * 1024);
  assert.equal(engine.model?.embed?.parts.length, 2);
  assert.equal(engine.model?.layers[0].up.parts.length, 2);
  assert.ok(heldBytes(engine) < 64e3, `${heldBytes(engine)} bytes are held`);
  const caches = sizes.get('cache 0') ?? 0;
  assert.ok(caches > 0 && caches <= budget - blob.size, `${caches} bytes of KV`);

  const wasm = await WasmEngine.start(readFileSync(path.resolve(root, process.env.SYNAPSE_WASM ?? 'build/wasm', 'synapse-simd.wasm')), 'wasm');
  await wasm.load(BENCH_ID, [shard], 1e8, () => {});
  const unit = benchUnit(benchAsks(2, 9, 4, SHAPE.vocab));
  const [ours, theirs] = [await engine.run(unit), wasm.run(unit)];
  assert.equal(resultInfo(ours).tokens, 8);
  for (const frame of [ours, theirs]) frame.fill(0, 64, 72);
  assert.deepEqual(Buffer.from(ours.subarray(0, -4)), Buffer.from(theirs.subarray(0, -4)));
  engine.close();
});
