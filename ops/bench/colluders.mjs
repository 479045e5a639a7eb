// colluders.mjs - 8 honest and 4 colluding native volunteers, 300 lines, at
// redundancy 2 and 1: wrong lines delivered and liars banned, a tab-separated
// line each (name, ours, limit, ratio, bar, ok or short).
//
//   ops/bench/colluders [LINES [ROUNDS]]
//
// Each case ROUNDS (5) times; told is the worst round. A liar that was not caught
// three times has told few lies or none, and is not to be banned.
// @ts-check

import { existsSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
process.env.SYNAPSE_BUILD ??=
  existsSync(path.join(ROOT, 'build/release/tests/adversary/liar')) ? 'build/release' : 'build/dev';
const { collude } = await import('../../tests/grid/colluders.mjs');

const LIARS = 4;
const lines = Number(process.argv[2] ?? 300);
const rounds = Number(process.argv[3] ?? 5);
const plans = {
  'lie at once': 'collude',
  'lie after 5 stints': 'collude,after=5',
  'lie after 15 stints': 'collude,after=15',
  'lie after 40 stints': 'collude,after=40',
};

/** @param {string} name @param {number} ours @param {number} limit @param {string} bar @param {boolean} ok */
function row(name, ours, limit, bar, ok) {
  console.log([name, ours, limit, limit ? (ours / limit).toFixed(2) : '-', bar, ok ? 'ok' : 'short'].join('\t'));
  if (!ok) process.exitCode = 1;
}

for (const [how, plan] of Object.entries(plans))
  for (const redundancy of [2, 1]) {
    const name = `4 of 12 ${how}, redundancy ${redundancy}`;
    const worst = { wrong: 0, free: 0, accused: 0 };
    for (let i = 0; i < rounds; i++) {
      const o = await collude({ honest: 8, liars: LIARS, lines, redundancy, plan, limitMs: 540_000 });
      worst.wrong = Math.max(worst.wrong, o.wrong);
      worst.free = Math.max(worst.free, o.free);
      worst.accused = Math.max(worst.accused, o.accused);
      console.error(`${name}: ${o.delivered} lines, ${o.wrong} wrong, ${o.caught} lies caught, ` +
        `${o.banned} liars banned, ${o.free} liars caught three times and not banned`);
    }
    const wrongMax = redundancy === 1 ? 1 : 0;
    row(`${name}: wrong lines, worst of ${rounds}`, worst.wrong, wrongMax, `<= ${wrongMax}`, worst.wrong <= wrongMax);
    row(`${name}: liars caught three times and not banned, worst of ${rounds}`, worst.free, 0, '= 0', worst.free === 0);
    row(`${name}: honest banned, worst of ${rounds}`, worst.accused, 0, '= 0', worst.accused === 0);
  }
