// churn.mjs - volunteers that leave while a model runs over three spans.
//
//   ops/bench/churn [--lines N] [--natives N] [--pages N] [--every MS]
//                   [--tokens N] [--seed S] [--quick]
//
// A batch of N (100) lines; every so many milliseconds (2000) one of 6 native
// volunteers and 2 pages in Chromium, drawn at random, is killed, frozen
// (SIGSTOP) or has its tab closed, and a new one joins. Every line must come
// once, with the text of `synapse run`; at most 15 % of the generated tokens may
// be computed twice, and no sequence may stand still for three seconds after a
// loss. Lines with tabs at the end: name, ours, limit, ratio, bar, ok or short.
// --quick: 24 lines. The programs are those of SYNAPSE_BUILD (default:
// build/release, else build/dev).
// @ts-check

import { existsSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
process.env.SYNAPSE_BUILD ??=
  existsSync(path.join(ROOT, 'build/release/bin/synapsed')) ? 'build/release' : 'build/dev';
const { anyLoss, churn, seeded } = await import('../../tests/grid/churn.mjs');

const AGAIN_BAR = 0.15, STALL_BAR_S = 3;

/** @param {string} name @param {number} fallback */
function optionOf(name, fallback) {
  const at = process.argv.indexOf(name);
  return at > 0 ? Number(process.argv[at + 1]) : fallback;
}
const seed = optionOf('--seed', Date.now() % 1_000_000);
const lines = optionOf('--lines', process.argv.includes('--quick') ? 24 : 100);

/** @param {string} name @param {number} ours @param {number} limit @param {number} bar @param {boolean} ok */
function row(name, ours, limit, bar, ok) {
  console.log([name, ours.toFixed(2), limit.toFixed(2), (ours / limit).toFixed(2), bar.toFixed(2), ok ? 'ok' : 'short'].join('\t'));
  return ok;
}

async function main() {
  console.log(`churn: seed ${seed}, ${process.env.SYNAPSE_BUILD}`);
  const natives = optionOf('--natives', 6), pages = optionOf('--pages', 2);
  const got = await churn({
    lines, tokens: optionOf('--tokens', 64), natives, pages, everyMs: optionOf('--every', 2000),
    next: anyLoss(seeded(seed), natives, pages),
  });
  const losses = Object.values(got.lost).reduce((n, m) => n + m, 0);
  const right = Math.max(0, lines - got.faults.length);
  console.log(`churn: ${got.seconds.toFixed(1)} s, ${losses} lost (${Object.entries(got.lost).map(([what, n]) => `${n} ${what}`).join(', ')}); ` +
    `${got.faults.slice(0, 3).join('; ') || 'all lines right'}`);
  console.log(`churn: ${got.rows} rows of generated tokens at their spans, ${got.again} lost and computed again; ` +
    `${got.rebuilt} rows computed for their KV; the longest time between two tokens of a line was ${got.pause.toFixed(1)} s`);
  const oks = [
    row('churn lines right', right, lines, 1, got.faults.length === 0),
    row('churn tokens computed twice, beside all', got.again, Math.max(got.rows, 1), AGAIN_BAR, got.again <= AGAIN_BAR * got.rows),
    row('churn longest stall after a loss, s', got.stall, STALL_BAR_S, 1, got.stall < STALL_BAR_S),
  ];
  return oks.every(Boolean) ? 0 : 1;
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(`churn: ${error instanceof Error ? error.stack : error}`);
    process.exit(1);
  },
);
