// colluders.mjs - 8 honest and 4 colluding native volunteers, 300 lines, at
// redundancy 2 and 1: wrong lines delivered and liars banned, a tab-separated
// line each (name, ours, limit, ratio, bar, ok or short).
//
//   ops/bench/colluders [LINES]
// @ts-check

import { existsSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
process.env.SYNAPSE_BUILD ??=
  existsSync(path.join(ROOT, 'build/release/tests/adversary/liar')) ? 'build/release' : 'build/dev';
const { collude } = await import('../../tests/grid/colluders.mjs');

const LIARS = 4;
const lines = Number(process.argv[2] ?? 300);
const plans = { 'lie at once': 'collude', 'lie after 15 stints': 'collude,after=15' };

/** @param {string} name @param {number} ours @param {number} limit @param {string} bar @param {boolean} ok */
function row(name, ours, limit, bar, ok) {
  console.log([name, ours, limit, limit ? (ours / limit).toFixed(2) : '-', bar, ok ? 'ok' : 'short'].join('\t'));
  if (!ok) process.exitCode = 1;
}

for (const [how, plan] of Object.entries(plans))
  for (const redundancy of [2, 1]) {
    const name = `4 of 12 ${how}, redundancy ${redundancy}`;
    const o = await collude({ honest: 8, liars: LIARS, lines, redundancy, plan, limitMs: 540_000 });
    const wrongMax = redundancy === 1 ? 1 : 0;
    row(`${name}: wrong lines`, o.wrong, wrongMax, `<= ${wrongMax}`, o.wrong <= wrongMax);
    row(`${name}: liars banned`, o.banned, LIARS, `= ${LIARS}`, o.banned === LIARS);
    row(`${name}: honest banned`, o.accused, 0, '= 0', o.accused === 0);
    console.error(`${name}: ${o.delivered} lines, ${o.caught} lies caught, overhead ${o.batch.check_overhead}`);
  }
