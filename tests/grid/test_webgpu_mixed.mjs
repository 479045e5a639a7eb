// test_webgpu_mixed.mjs - one volunteer that computes on WebGPU (Chromium on the
// software adapter, told to use it), one on WASM and a native one: the text of
// every line is that of synapse run.
// @ts-check

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openVolunteers } from '../../ops/lib/browsers.mjs';
import { Grid } from './grid.mjs';
import { Truth } from './truth.mjs';

const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

/** @type {import('./grid.mjs').Request[]} */
const requests = ['Once upon a time', 'The king said', 'In the forest', 'He went'].flatMap((prompt, i) => [
  { custom_id: `greedy-${i}`, prompt, max_tokens: 6, temperature: 0 },
  { custom_id: `sampled-${i}`, prompt, max_tokens: 6, temperature: 1, top_p: 0.9, seed: i },
]);

test('WebGPU, WASM and native volunteers give the text of synapse run', async () => {
  const truth = await Truth.of(requests);
  const grid = await Grid.start();
  /** @type {Awaited<ReturnType<typeof openVolunteers>>[]} */
  const browsers = [];
  /** @param {{backend: string}} one */
  const kindOf = ({ backend }) => backend.split('-')[0];
  try {
    // Alone at first: a software GPU is slow, and the others would leave it nothing.
    browsers.push(await openVolunteers(grid.url, ['WebGPU'], { args: WEBGPU, gpu: 'always' }));
    await grid.ready(1);
    await truth.computeUntil(grid, kindOf, ['webgpu']);
    browsers.push(await openVolunteers(grid.url, ['WASM']));
    grid.volunteer('native', ['--models', grid.models]);
    await grid.ready(3);
    await truth.computeUntil(grid, kindOf, ['native', 'wasm', 'webgpu'], new Set(['webgpu']));
  } finally {
    for (const browser of browsers) await browser.close();
    assert.deepEqual(await grid.stop(), [], 'no process is left');
  }
});
