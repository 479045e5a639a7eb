// test_colluders.mjs - a group that gives the same wrong answers and vouches for
// its own gets none of them delivered, and is banned. ops/bench/colluders has the
// same with more of them.
// @ts-check

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { collude } from './colluders.mjs';

for (const redundancy of [1, 2])
  test(`colluders get no wrong line delivered at redundancy ${redundancy}`, async () => {
    const outcome = await collude({ honest: 3, liars: 2, lines: 24, redundancy, plan: 'collude' });
    assert.equal(outcome.delivered, 24);
    assert.equal(outcome.wrong, 0);
    assert.equal(outcome.accused, 0);
    assert.ok(outcome.caught >= 2, 'the liars were caught');
  });
