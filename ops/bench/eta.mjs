// eta.mjs - five batches of different sizes, computed by native volunteers: how
// the first p50 and p90 that each told compare with the time that it took.
// Called by ops/bench/eta after the build.
// @ts-check

import { Grid, sleep } from '../../tests/grid/grid.mjs';

const SIZES = [60, 150, 400, 1000, 2000], LIMIT_MS = 600_000;

const grid = await Grid.start();
try {
  for (const name of ['Ada', 'Grace', 'Joan']) grid.volunteer(name);
  let within = 0, early = 0;
  for (const size of SIZES) {
    const { id } = await grid.submit(Array.from({ length: size }, (_, i) => ({
      custom_id: `l${i}`, prompt: 'Once upon a time there was', max_tokens: 16 + (i * 37) % 80, temperature: 0.8, seed: i,
    })));
    const start = performance.now();
    let first = null, told = 0;
    for (;;) {
      const batch = await grid.ask(`/v1/batches/${id}`), now = (performance.now() - start) / 1000;
      if (!first && batch.eta) [first, told] = [batch.eta, now];
      if (batch.status === 'completed') {
        const left = now - told;
        if (!first) throw new Error(`a batch of ${size} told nothing`);
        const good = left < 2 * first.p90, soon = left < first.p50 / 2;
        within += Number(good);
        early += Number(soon);
        console.log(`${size} lines: told after ${told.toFixed(1)} s: p50 ${first.p50}, p90 ${first.p90}; it took ${left.toFixed(1)} s more${good && !soon ? '' : ' (off)'}`);
        break;
      }
      if (now * 1000 > LIMIT_MS) throw new Error(`the batch did not end: ${JSON.stringify(batch)}`);
      await sleep(50);
    }
  }
  const part = within / SIZES.length;
  console.log(['eta-within-twice-p90', part.toFixed(2), 1, part.toFixed(2), '>= 0.8', part >= 0.8 ? 'ok' : 'short'].join('\t'));
  console.log(['eta-before-half-p50', early, 0, early, '0', early === 0 ? 'ok' : 'short'].join('\t'));
} finally {
  await grid.stop();
}
