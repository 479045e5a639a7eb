// test_webgpu_mixed.mjs - one volunteer that computes on WebGPU (Chromium on the
// software adapter, told to use it), one on WASM and a native one: the text of
// every line is that of synapse run.
// @ts-check

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openVolunteers } from '../../ops/lib/browsers.mjs';
import { Grid, answerOf, runLocal, until } from './grid.mjs';

const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

/** @type {import('./grid.mjs').Request[]} */
const requests = ['Once upon a time', 'The king said', 'In the forest', 'He went'].flatMap((prompt, i) => [
  { custom_id: `greedy-${i}`, prompt, max_tokens: 6, temperature: 0 },
  { custom_id: `sampled-${i}`, prompt, max_tokens: 6, temperature: 1, top_p: 0.9, seed: i },
]);

test('WebGPU, WASM and native volunteers give the text of synapse run', async () => {
  const truth = new Map();
  for (const request of requests) truth.set(request.custom_id, await runLocal(request));
  const grid = await Grid.start();
  /** @type {Awaited<ReturnType<typeof openVolunteers>>[]} */
  const browsers = [];
  const computed = new Set();
  const compute = async () => {
    const lines = await grid.compute(requests);
    for (const request of requests) {
      const line = lines.get(request.custom_id);
      const { text, tokens, finish_reason } = truth.get(request.custom_id);
      assert.deepEqual(answerOf(line), { text, tokens, finish_reason }, request.custom_id);
      for (const { backend } of line.response.body.synapse.computed_by) computed.add(backend.split('-')[0]);
    }
  };
  try {
    // Alone at first: a software GPU is slow, and the others would leave it nothing.
    browsers.push(await openVolunteers(grid.url, ['WebGPU'], { args: WEBGPU, gpu: 'always' }));
    await until(async () => (await grid.ask('/v1/stats')).volunteers.length >= 1, 'volunteer on WebGPU');
    await compute();
    assert.ok(computed.has('webgpu'), [...computed].join());
    browsers.push(await openVolunteers(grid.url, ['WASM']));
    grid.volunteer('native', ['--models', grid.models]);
    await until(async () => (await grid.ask('/v1/stats')).volunteers.length >= 3, 'three volunteers');
    for (let i = 0; i < 5 && computed.size < 3; i++) await compute();
    assert.deepEqual([...computed].sort(), ['native', 'wasm', 'webgpu'], 'all had work');
  } finally {
    for (const browser of browsers) await browser.close();
    assert.deepEqual(await grid.stop(), [], 'no process is left');
  }
});
