// trust_grid.mjs - what checks cost in computing time.
//
//   node ops/bench/trust_grid.mjs [LINES]
//
// One native volunteer with more than 20 valid checks behind it computes LINES
// (96) prompts of 200 tokens with outputs of 256, 16 sequences a unit. Its
// account is alone, so the referee does every check, and processor time tells
// them apart: the volunteer's is the work, the referee's the checks. As few lines
// are drawn, the share that chance gave is printed with what a check costs at
// the usual chance of 5 %. Then a line with tabs: name, share, bar, ratio, bar,
// ok or short. The programs are those of SYNAPSE_BUILD.
// @ts-check

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
process.env.SYNAPSE_BUILD ??=
  existsSync(path.join(ROOT, 'build/release/bin/synapsed')) ? 'build/release' : 'build/dev';
const { Grid } = await import('../../tests/grid/grid.mjs');

const BAR = 0.08;
const CHANCE = 0.05;
const PROMPT = 860; // bytes, about 200 tokens
const OUTPUT = 256;
const LIMIT_MS = 500_000;
const lines = Number(process.argv[2] ?? 96);

/** Processor time of a process so far, in clock ticks. @param {number | undefined} pid */
function ticks(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

/** @param {string} tag @param {number} n @param {number} bytes of each prompt @param {number} max */
function requests(tag, n, bytes, max) {
  return Array.from({ length: n }, (_, i) => ({
    custom_id: `${tag}-${i}`, prompt: `${i} `.padEnd(bytes, ' the king and the old wolf went down to the water'),
    max_tokens: max, temperature: 0.8, seed: i, ignore_eos: true,
  }));
}

const grid = await Grid.start();
try {
  const volunteer = grid.volunteer('worker', ['--threads', '1']);
  const warm = await grid.submit(requests('warm', 24, 4, 4), { redundancy: 2 });
  await grid.finished(warm.id, LIMIT_MS);
  const referee = grid.findReferee();
  const before = [ticks(volunteer.child.pid), ticks(referee)];
  const { id } = await grid.submit(requests('line', lines, PROMPT, OUTPUT));
  const batch = await grid.finished(id, LIMIT_MS);
  if (batch.request_counts.completed !== lines) throw new Error(`the batch ended as ${JSON.stringify(batch)}`);
  const usage = (await grid.results(id))[0].response.body.usage;
  const work = ticks(volunteer.child.pid) - before[0];
  const checks = ticks(referee) - before[1];
  const { checked_tokens: checked, check_overhead: overhead } = batch.synapse ?? batch;
  const drawn = Math.round(checked / OUTPUT);
  const each = drawn ? (checks / drawn) / (work / lines) : 0;
  console.log(`trust_grid: prompts of ${usage.prompt_tokens}, outputs of ${usage.completion_tokens}; ${drawn} of ${lines} lines were drawn (check_overhead ${overhead}); ` +
    `work ${work / 100} s, checks ${checks / 100} s: ${((checks / (work + checks)) * 100).toFixed(2)} % of all; ` +
    `a check costs ${(each * 100).toFixed(1)} % of a line`);
  const usual = (CHANCE * each) / (1 + CHANCE * each);
  console.log(['checks, share of compute time', usual.toFixed(4), BAR, (usual / BAR).toFixed(2), BAR,
    usual <= BAR ? 'ok' : 'short'].join('\t'));
} finally {
  await grid.stop();
}
