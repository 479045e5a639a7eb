// trust_waits.mjs - how long checks wait to be started where few can check: one
// native volunteer alone, 25 behind one address, three fresh headless browsers.
//
//   node ops/bench/trust_waits.mjs [LINES]
//
// Each on a server of its own; LINES (100) lines of 12 tokens. A tab-separated
// line each with the longest wait from the draw to the lease of the check, by the
// server's clock: name, seconds, 10, ratio, bar, ok or short.
// @ts-check

import { existsSync } from 'node:fs';
import path from 'node:path';

import { launchChromium } from '../lib/browsers.mjs';

const ROOT = path.resolve(import.meta.dirname, '../..');
process.env.SYNAPSE_BUILD ??=
  existsSync(path.join(ROOT, 'build/release/bin/synapsed')) ? 'build/release' : 'build/dev';
const { Grid } = await import('../../tests/grid/grid.mjs');

const LIMIT_MS = 300_000;
const BAR_S = 10;
const lines = Number(process.argv[2] ?? 100);

/** @typedef {import('../../tests/grid/grid.mjs').Grid} AnyGrid */

/** @param {string} name @param {string[]} args of the server
 * @param {(grid: AnyGrid) => Promise<(() => Promise<unknown>) | void>} gather */
async function measure(name, args, gather) {
  const grid = await Grid.start({ args });
  let part;
  try {
    part = await gather(grid);
    const { id } = await grid.submit(Array.from({ length: lines }, (_, i) => ({
      custom_id: `line-${i}`, prompt: 'The king and the wolf', max_tokens: 12, temperature: 0.8, seed: i,
    })));
    const batch = await grid.finished(id, LIMIT_MS);
    const { longest_check_wait_s: wait, checks } = await grid.ask('/v1/stats');
    const ok = batch.request_counts.completed === lines && wait <= BAR_S;
    console.error(`${name}: ${batch.request_counts.completed} of ${lines} lines, ${checks} checks`);
    console.log([`${name}: longest wait for a check to start, s`, wait, BAR_S, (wait / BAR_S).toFixed(2), `<= ${BAR_S}`,
      ok ? 'ok' : 'short'].join('\t'));
    if (!ok) process.exitCode = 1;
  } finally {
    await part?.();
    await grid.stop();
  }
}

await measure('one device alone', [], async (grid) => {
  grid.volunteer('alone', ['--threads', '1']);
});
// Loopback is one block like any other where another one is named as shared.
await measure('25 behind one address', ['--same-place', '192.0.2.0/24'], async (grid) => {
  for (let i = 0; i < 25; i++) grid.volunteer(`pupil-${i}`, ['--threads', '1', '--sequences', '4']);
});
await measure('three fresh browsers', [], async (grid) => {
  const browser = await launchChromium(['--no-proxy-server']);
  for (let i = 0; i < 3; i++) {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`${grid.url}/contribute?autostart=1&intensity=100&name=fresh-${i}`);
  }
  return () => browser.close();
});
