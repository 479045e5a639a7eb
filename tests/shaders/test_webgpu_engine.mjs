// test_webgpu_engine.mjs - the WebGPU engine gives the bytes of the C engine:
// whole frames, the spans of a split model, and weights that are held in parts.
// All on one device, because a software adapter takes seconds for a kernel of
// any new shape: it compiles each once for all.
// @ts-check

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test, { after } from 'node:test';

import { BENCH_ID, benchAsks, benchUnit } from '../../volunteer/web/bench_model.mjs';
import { WebGpuEngine } from '../../volunteer/web/webgpu_engine.mjs';
import { GpuHold } from '../../volunteer/web/webgpu_device.mjs';
import { assemble } from '../../volunteer/web/webgpu_shaders.mjs';
import { openGpu, readShader, root } from '../web/webgpu_node.mjs';
import { makeFrames, newHasher, readAll, readShards } from './frames.mjs';
import { checkMemory } from './memory.mjs';
import { checkSpans } from './spans.mjs';

const gpu = openGpu();
const ALL = [0, 1, 2, 3, 4, 5];
const SPLIT = [1, 3, 5]; // one of each family, at every layer
const WHOLE_MODEL = 0; // one shard, whose head is its embedding
const ROPE_MODEL = 3; // three shards, and positions by rotation

const { dir, done } = makeFrames();
const hold = await GpuHold.open(gpu);
const sources = await assemble(readShader, hold.info.subgroups);
const newEngine = () => new WebGpuEngine(hold, sources, newHasher);
after(() => {
  hold.close();
  done();
});

// The frames of the committed digest, with logprobs, penalties, biases, rollbacks
// and missing rows. A software adapter does the split models; it does the whole
// ones too, and with them the digest itself, if SYNAPSE_ALL is set.
test('every frame of the digest gives the same bytes', async () => {
  const committed = /"([0-9a-f]{64})"/.exec(readFileSync(path.join(root, 'tests/engine/digest.c'), 'utf8'))?.[1];
  const digest = createHash('sha256');
  const models = hold.info.software && !process.env.SYNAPSE_ALL ? SPLIT : ALL;
  for (const m of models) {
    const engine = newEngine();
    engine.clock = () => 0;
    await engine.load('00'.repeat(32), readShards(dir, m), 64e6, () => {});
    const [units, results] = [readAll(dir, m, 'unit'), readAll(dir, m, 'result')];
    assert.equal(units.length, results.length);
    assert.ok(units.length > 0);
    for (const [i, unit] of units.entries()) {
      assert.ok(engine.supports(unit));
      const result = await engine.run(unit);
      assert.deepEqual(Buffer.from(result), Buffer.from(results[i]), `model ${m}, unit ${i}`);
      digest.update(result);
    }
  }
  if (models === ALL) assert.equal(digest.digest('hex'), committed);
});

test('spans of a split model give the bytes of the C engine', () => checkSpans(newEngine, readShards(dir, ROPE_MODEL)));

test('weights are on the GPU once, in parts if need be, and give the same bytes', () =>
  checkMemory(newEngine(), readShards(dir, WHOLE_MODEL)[0]));

test('a unit is submitted in slices, shorter ones where steps take long, at most two under way', async () => {
  const engine = newEngine();
  engine.clock = () => 0;
  await engine.load(BENCH_ID, readShards(dir, WHOLE_MODEL), 64e6, () => {});
  const { submit, collect } = engine;
  /** @type {number[]} */
  let steps = [];
  let under = 0;
  engine.submit = (...args) => {
    assert.ok(++under <= 2);
    const slice = submit.apply(engine, args);
    steps.push(slice.steps);
    return slice;
  };
  engine.collect = async (slice) => {
    await collect.call(engine, slice);
    under--;
  };
  const unit = benchUnit(benchAsks(2, 9, 4, engine.config.nVocab));
  const told = [];
  for (const { stepMs, want } of [{ stepMs: 5, want: [1, 3] }, { stepMs: 1000, want: [1, 1, 1, 1] }]) {
    engine.stepMs = stepMs;
    steps = [];
    told.push(Buffer.from(await engine.run(unit)));
    assert.deepEqual(steps, want, `a step of ${stepMs} ms`);
    assert.equal(under, 0, 'all is read');
  }
  assert.deepEqual(told[0], told[1]);

  // The first slices are short: the GPU has work while longer ones are being recorded.
  Object.defineProperty(engine, 'stepMs', { get: () => 0.5, set: () => {} }); // as on a fast GPU
  steps = [];
  await engine.run(benchUnit(benchAsks(1, 9, 20, engine.config.nVocab)));
  assert.deepEqual(steps, [1, 4, 5, 10]);
});
