// test_churn.mjs - volunteers of every kind are lost in every way while lines
// run over three spans, which no two of them share at first: every line comes
// once, with the text of the whole model. ops/bench/churn is the same at length.
// @ts-check

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { churn } from './churn.mjs';

test('lines over spans are complete, once and the same, whoever is killed, frozen or closes the page', async () => {
  const losses = /** @type {import('./churn.mjs').Loss[]} */ ([
    { page: false, how: 'killed', which: 0 }, { page: true, how: 'closed', which: 0 }, { page: false, how: 'frozen', which: 0 },
    { page: true, how: 'frozen', which: 0 }, { page: false, how: 'killed', which: 0.9 },
  ]);
  const got = await churn({
    lines: 10, tokens: 32, natives: 3, pages: 1, everyMs: 1200, delayMs: 60, losses: losses.length,
    next: (pages) => (losses[0].page && !pages ? null : losses.shift() ?? null),
  });
  assert.deepEqual(got.faults, []);
  const kinds = ['native killed', 'page closed', 'native frozen', 'page frozen'];
  for (const kind of kinds) assert.ok(got.lost[kind] > 0, `${kind}: the batch lasted long enough`);
  assert.ok(got.rebuilt > 0, 'others went on from the log');
  assert.ok(got.again <= 0.15 * got.rows, `${got.again} of ${got.rows} rows were computed twice`);
});
