// chaos.mjs - what a grid does when its processes are killed.
//
//   ops/bench/chaos [ROUNDS] [--browsers N] [--seed S]
//
// Each round submits a batch of twenty lines and kills -9, at random moments,
// synapsed, its Redis, the referee or volunteers, and starts again what nobody
// else does. The round is right if every line came exactly once, with the text
// of `synapse run`. A line a round, then one with tabs: name, rounds that were
// right, rounds, ratio, bar, ok or short. The programs are those of
// SYNAPSE_BUILD (default: build/release, else build/dev).
// @ts-check

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
process.env.SYNAPSE_BUILD ??=
  existsSync(path.join(ROOT, 'build/release/bin/synapsed')) ? 'build/release' : 'build/dev';
const { Grid, answerOf, kill, runLocal, sleep } = await import('../../tests/grid/grid.mjs');

const LIMIT_MS = 120_000; // a round that takes longer has lost something
const KILL_WITHIN_MS = 1500;
const DOWN_MS = 400;
const NAMES = ['Ada', 'Grace', 'Edsger'];

/** @param {string} name @param {number} fallback */
function optionOf(name, fallback) {
  const at = process.argv.indexOf(name);
  return at > 0 ? Number(process.argv[at + 1]) : fallback;
}

const rounds = /^\d+$/.test(process.argv[2] ?? '') ? Number(process.argv[2]) : 20;
const nBrowsers = optionOf('--browsers', 0);
const seed = optionOf('--seed', Date.now() % 1_000_000);

// A small generator (mulberry32), so that a seed repeats the same kills.
let state = seed;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
/** @template T @param {T[]} list @returns {T} */
const oneOf = (list) => list[Math.floor(random() * list.length)];

const golden = JSON.parse(readFileSync(path.join(ROOT, 'ops/models/tales-gpt2/golden.json'), 'utf8'));
/** @type {import('../../tests/grid/grid.mjs').Request[]} */
const requests = Array.from({ length: 20 }, (_, i) => ({
  custom_id: `line-${i}`,
  prompt: golden.greedy[i % golden.greedy.length].prompt,
  max_tokens: 16 + (i % 5) * 8,
  ...(i % 2 ? { temperature: 0.9, top_p: 0.9, seed: i } : { temperature: 0 }),
}));
/** @type {Map<string, any>} */
const truth = new Map();

/** @typedef {InstanceType<typeof Grid>} GridType */

/** The volunteers by name: the one that lives now. @type {Map<string, any>} */
const living = new Map();

/** @param {GridType} grid @param {string} name */
function enlist(grid, name) {
  // Slow enough that a batch lasts longer than the kills.
  living.set(name, grid.volunteer(name, ['--sequences', '2', '--delay-ms', '250', '--threads', '1']));
}

/** @type {Record<string, (grid: GridType) => Promise<void>>} */
const blows = {
  async synapsed(grid) {
    kill(grid.server?.pid, 'SIGKILL');
    await sleep(random() * DOWN_MS);
    await grid.startServer();
  },
  async redis(grid) {
    kill(grid.redisPid, 'SIGKILL');
    await sleep(50);
    await grid.findRedis(); // synapsed starts it
  },
  async both(grid) {
    kill(grid.redisPid, 'SIGKILL');
    kill(grid.server?.pid, 'SIGKILL');
    await sleep(random() * DOWN_MS);
    await grid.startServer();
  },
  async referee(grid) {
    kill(grid.findReferee(), 'SIGKILL');
  },
  async volunteer(grid) {
    const name = oneOf(NAMES);
    await living.get(name).stop('SIGKILL');
    await sleep(random() * DOWN_MS);
    enlist(grid, name);
  },
};

/** What is wrong with the lines, in words; empty if nothing is. @param {any[]} lines */
function faultsOf(lines) {
  const faults = [];
  const seen = new Map();
  for (const line of lines) seen.set(line.custom_id, (seen.get(line.custom_id) ?? 0) + 1);
  for (const request of requests) {
    const n = seen.get(request.custom_id) ?? 0;
    if (n !== 1) faults.push(`${request.custom_id} came ${n} times`);
  }
  for (const line of lines) {
    const got = JSON.stringify(answerOf(line)), want = JSON.stringify(truth.get(line.custom_id));
    if (got !== want) faults.push(`${line.custom_id} is ${got}, not ${want}`);
  }
  return faults;
}

/** One batch with these blows. @param {GridType} grid @param {string[]} kinds */
async function round(grid, kinds) {
  const start = Date.now();
  const { id } = await grid.submit(requests);
  let inTime = 0; // blows that met the batch under way
  for (const kind of kinds) {
    await sleep((random() * KILL_WITHIN_MS) / kinds.length);
    const before = await grid.ask(`/v1/batches/${id}`).catch(() => null);
    if (before?.status !== 'completed') inTime++;
    await blows[kind](grid);
  }
  const batch = await grid.finished(id, LIMIT_MS);
  const faults = batch.status === 'completed' ? faultsOf(await grid.results(id)) : [`it is ${batch.status}`];
  return { faults, inTime, seconds: (Date.now() - start) / 1000 };
}

async function main() {
  for (const request of requests) {
    const { text, tokens, finish_reason } = await runLocal(request);
    truth.set(request.custom_id, { text, tokens, finish_reason });
  }
  console.log(`chaos: seed ${seed}, ${process.env.SYNAPSE_BUILD}`);
  const grid = await Grid.start();
  /** @type {{close(): Promise<void>} | undefined} */
  let browser;
  let right = 0, nBlows = 0, nInTime = 0;
  try {
    for (const name of NAMES) enlist(grid, name);
    if (nBrowsers) {
      const { openVolunteers } = await import('../lib/browsers.mjs');
      browser = await openVolunteers(grid.url, Array.from({ length: nBrowsers }, (_, i) => `browser ${i + 1}`));
    }
    const calm = await round(grid, []);
    if (calm.faults.length) throw new Error(`an undisturbed batch is wrong: ${calm.faults.slice(0, 3).join('; ')}`);
    console.log(`chaos: undisturbed, ${calm.seconds.toFixed(1)} s`);
    for (let i = 1; i <= rounds; i++) {
      const kinds = Array.from({ length: 1 + Math.floor(random() * 3) }, () => oneOf(Object.keys(blows)));
      const { faults, inTime, seconds } = await round(grid, kinds)
        .catch((error) => ({ faults: [String(error)], inTime: 0, seconds: 0 }));
      if (!faults.length) right++;
      nBlows += kinds.length;
      nInTime += inTime;
      console.log(`chaos: round ${i} of ${rounds}: killed ${kinds.join(', ')}; ` +
        `${faults.length ? faults.slice(0, 3).join('; ') : 'all lines right'}, ${seconds.toFixed(1)} s`);
    }
  } finally {
    await browser?.close();
    await grid.stop();
  }
  const ok = right === rounds;
  console.log(`chaos: ${nInTime} of ${nBlows} kills met a batch under way`);
  console.log(`chaos rounds right\t${right}\t${rounds}\t${(right / rounds).toFixed(2)}\t1.00\t${ok ? 'ok' : 'short'}`);
  return ok ? 0 : 1;
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(`chaos: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  },
);
