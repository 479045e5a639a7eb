// test_mixed.mjs - browsers and native volunteers on one batch: the same bytes.
// @ts-check

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openVolunteers } from '../../ops/lib/browsers.mjs';
import { Grid } from './grid.mjs';
import { Truth } from './truth.mjs';

// More lines than one volunteer may hold (two units of 16), so both get some.
/** @type {import('./grid.mjs').Request[]} */
const requests = ['Once upon a time', 'The king said', 'In the forest', 'A little girl', 'The old woman',
  'There was a', 'Then the wolf', 'He went', 'She looked', 'They came'].flatMap((prompt, i) => [
  { custom_id: `greedy-${i}`, prompt, max_tokens: 12, temperature: 0 },
  ...[1, 2, 3].map((seed) =>
    ({ custom_id: `sampled-${i}-${seed}`, prompt, max_tokens: 12, temperature: 1, top_p: 0.9, seed })),
]);

test('lines that Chromium and native volunteers compute together are those of synapse run', async () => {
  const truth = await Truth.of(requests);
  const grid = await Grid.start();
  /** @type {Awaited<ReturnType<typeof openVolunteers>> | undefined} */
  let browser;
  try {
    browser = await openVolunteers(grid.url, ['Chromium']);
    grid.volunteer('Ada', ['--models', grid.models]);
    await grid.ready(2);
    await truth.computeUntil(grid, ({ backend }) => backend.split('-')[0], ['native', 'wasm']);
  } finally {
    await browser?.close();
    assert.deepEqual(await grid.stop(), [], 'no process is left');
  }
});
