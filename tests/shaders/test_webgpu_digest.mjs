// test_webgpu_digest.mjs - the frames of the committed digest, on all three
// families of models, whole and split at every layer, with logprobs, penalties,
// biases, rollbacks and missing rows: the WebGPU engine gives the same bytes.
// A software adapter takes a minute for the split models; it does the whole
// ones too, and with them the digest itself, if SYNAPSE_ALL is set.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';

import { WebGpuEngine } from '../../volunteer/web/webgpu_engine.mjs';
import { GpuHold } from '../../volunteer/web/webgpu_device.mjs';
import { assemble } from '../../volunteer/web/webgpu_shaders.mjs';
import { openGpu, readShader, root } from '../web/webgpu_node.mjs';

const gpu = openGpu();
const ALL = [0, 1, 2, 3, 4, 5];
const SPLIT = [1, 3, 5]; // one of each family

const newHasher = () => {
  const hash = createHash('sha256');
  return { update: (/** @type {Uint8Array} */ b) => void hash.update(b), hex: () => hash.digest('hex') };
};

/** The folder of frames, made here unless SYNAPSE_FRAMES names one. */
function frames() {
  if (process.env.SYNAPSE_FRAMES) return { dir: process.env.SYNAPSE_FRAMES, done: () => {} };
  const dir = mkdtempSync(path.join(os.tmpdir(), 'frames-'));
  const make = path.resolve(root, process.env.SYNAPSE_BUILD ?? 'build/dev', 'tests/shaders/digest_frames');
  execFileSync(make, [dir]);
  return { dir, done: () => rmSync(dir, { recursive: true }) };
}

test('every frame of the digest gives the same bytes', async () => {
  const { dir, done } = frames();
  const committed = /"([0-9a-f]{64})"/.exec(readFileSync(path.join(root, 'tests/engine/digest.c'), 'utf8'))?.[1];
  const digest = createHash('sha256');
  const hold = await GpuHold.open(gpu);
  const sources = await assemble(readShader, hold.info.subgroups);
  const models = hold.info.software && !process.env.SYNAPSE_ALL ? SPLIT : ALL;
  for (const m of models) {
    const read = (/** @type {string} */ name) => new Uint8Array(readFileSync(path.join(dir, String(m), name)));
    const shards = [];
    for (let k = 0; existsSync(path.join(dir, String(m), `shard-${k}`)); k++) {
      const bytes = read(`shard-${k}`);
      shards.push({ name: `shard-${k}`, blob: new Blob([bytes]), sha256: createHash('sha256').update(bytes).digest('hex') });
    }
    const engine = new WebGpuEngine(hold, sources, newHasher);
    engine.clock = () => 0;
    await engine.load('00'.repeat(32), shards, 64e6, () => {});
    for (let i = 0; existsSync(path.join(dir, String(m), `unit-${i}`)); i++) {
      const unit = read(`unit-${i}`);
      assert.ok(engine.supports(unit));
      const result = await engine.run(unit);
      assert.deepEqual(Buffer.from(result), Buffer.from(read(`result-${i}`)), `model ${m}, unit ${i}`);
      digest.update(result);
    }
  }
  if (models === ALL) assert.equal(digest.digest('hex'), committed);
  hold.close();
  done();
});
