// memory.mjs - weights are on the GPU once and nowhere else; KV keeps
// to what the volunteer allows; and matrices larger than a binding may be, which
// are held in parts, give the same bytes.
// @ts-check

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { BENCH_ID, benchAsks, benchUnit } from '../../volunteer/web/bench_model.mjs';
import { WasmEngine } from '../../volunteer/web/engine_wasm.mjs';
import { resultInfo } from '../../volunteer/web/syn1.mjs';
import { root } from '../web/webgpu_node.mjs';

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

/**
 * @param {import('../../volunteer/web/webgpu_engine.mjs').WebGpuEngine} engine  without a model
 * @param {import('./frames.mjs').ShardBlob} shard  the whole of model 0: 84 wide, 203 tokens, 200 wide between up and down
 */
export async function checkMemory(engine, shard) {
  const { blob } = shard;
  engine.splitAt = 2 * 1024 * 12; // 12 of the 13 blocks of the vocabulary and of up, and of the 16 of qkv
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
  device.createBuffer = create;
  // The head is tied: its tiles are the embedding's.
  assert.equal(sizes.get('embed.w'), 13 * 2 * 1024);
  assert.equal(sizes.has('head.w'), false);
  assert.equal(sizes.get('layers.0.up.w'), 13 * 2 * 1024);
  assert.equal(engine.model?.embed?.parts.length, 2);
  assert.equal(engine.model?.layers[0].up.parts.length, 2);
  assert.ok(heldBytes(engine) < 64e3, `${heldBytes(engine)} bytes are held`);
  const caches = sizes.get('cache 0') ?? 0;
  assert.ok(caches > 0 && caches <= budget - blob.size, `${caches} bytes of KV`);

  const wasm = await WasmEngine.start(readFileSync(path.resolve(root, process.env.SYNAPSE_WASM ?? 'build/wasm', 'synapse-simd.wasm')), 'wasm');
  await wasm.load(BENCH_ID, [shard], 1e8, () => {});
  const unit = benchUnit(benchAsks(2, 9, 4, engine.config.nVocab));
  const [ours, theirs] = [await engine.run(unit), wasm.run(unit)];
  assert.equal(resultInfo(ours).tokens, 8);
  for (const frame of [ours, theirs]) frame.fill(0, 64, 72);
  assert.deepEqual(Buffer.from(ours.subarray(0, -4)), Buffer.from(theirs.subarray(0, -4)));
}
