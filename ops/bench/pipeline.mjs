// pipeline.mjs - a model over three spans when every volunteer is far away:
// 50 ms one way between it and the server. One sequence alone, beside one
// token in three round trips; 32 together, beside 32 of these or the same grid
// without delay, whichever is less; and the bytes that a row takes on a hop.
//
//   ops/bench/pipeline [--tokens N] [--delay MS]
//
// Lines with tabs at the end: name, ours, limit, ratio, bar, ok or short. The
// programs are those of SYNAPSE_BUILD (default: build/release, else build/dev).
// @ts-check

import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
process.env.SYNAPSE_BUILD ??=
  existsSync(path.join(ROOT, 'build/release/bin/synapsed')) ? 'build/release' : 'build/dev';
const { Grid, splitModel, synapseOk } = await import('../../tests/grid/grid.mjs');
const { DelayProxy } = await import('../../tests/grid/delay_proxy.mjs');

const SOURCE = 'ops/models/tales-gpt2', SHARDS = 6, SPANS = 3, CUTS = [0, 2, 4, 6];
const MEMORY = '64M'; // KV of 64 sequences
const FRAME = 1024; // bytes of a call but for its rows, at most

/** @param {string} name @param {number} fallback */
function optionOf(name, fallback) {
  const at = process.argv.indexOf(name);
  return at > 0 ? Number(process.argv[at + 1]) : fallback;
}
const tokens = optionOf('--tokens', 48), delayMs = optionOf('--delay', 50);

/** Have the model cut in three, and each volunteer hold its part, however much
 * more it has room for. @param {InstanceType<typeof Grid>} grid */
async function pin(grid) {
  const made = await synapseOk(['keys', 'create', '--data', grid.data, '--name', 'operator', '--scopes', 'operate']);
  const key = made.out.trim().split('\n').at(-1) ?? '';
  const plan = (/** @type {string[]} */ ...args) =>
    synapseOk(['plan', grid.url, '--model', path.basename(SOURCE), '--key', key, ...args]);
  await plan('--path', CUTS.slice(1, -1).join(','));
  for (let i = 0; i < SPANS; i++) await plan('--volunteer', `v${i}`, '--span', `${CUTS[i]}-${CUTS[i + 1]}`);
}

/** A batch of n lines of so many tokens: how many were made and read, and the seconds.
 * @param {InstanceType<typeof Grid>} grid @param {number} n @param {number} maxTokens @param {string} prompt */
async function batch(grid, n, maxTokens, prompt = 'Once') {
  const start = performance.now();
  const { id } = await grid.submit(Array.from({ length: n }, (_, i) => ({
    custom_id: `line-${i}`, prompt, max_tokens: maxTokens, temperature: 1, seed: i + 1,
  })));
  const ended = await grid.finished(id, 300_000);
  if (ended.status !== 'completed') throw new Error(`the batch is ${ended.status}`);
  const seconds = (performance.now() - start) / 1000;
  const lines = await grid.results(id);
  const sum = (/** @type {string} */ what) => lines.reduce((n, l) => n + l.response.body.usage[what], 0);
  return { made: sum('completion_tokens'), read: sum('prompt_tokens'), seconds };
}

/** Tokens a second while they come: what submitting, prompts and checks take is
 * in both batches. @param {InstanceType<typeof Grid>} grid @param {number} n */
async function rate(grid, n) {
  const short = await batch(grid, n, 8), long = await batch(grid, n, 8 + tokens);
  return (long.made - short.made) / (long.seconds - short.seconds);
}

/** A grid of three volunteers, each behind a proxy, and what it does.
 * @template T @param {string} models @param {number} delay
 * @param {(grid: InstanceType<typeof Grid>, proxies: InstanceType<typeof DelayProxy>[]) => Promise<T>} measure */
async function withGrid(models, delay, measure) {
  const grid = await Grid.start({ args: ['--models', models] });
  /** @type {InstanceType<typeof DelayProxy>[]} */
  const proxies = [];
  try {
    const { url } = grid;
    await pin(grid);
    for (let i = 0; i < SPANS; i++) {
      const proxy = await DelayProxy.start(url, delay);
      proxies.push(proxy);
      grid.url = proxy.url; // where this volunteer calls
      grid.volunteer(`v${i}`, ['--memory', MEMORY, '--threads', '1']);
    }
    grid.url = url;
    await batch(grid, 4, 4); // joins, downloads, warms up
    return await measure(grid, proxies);
  } finally {
    await grid.stop();
    await Promise.all(proxies.map((proxy) => proxy.stop()));
  }
}

/** @param {string} name @param {number} ours @param {number} limit @param {number} bar @param {boolean} ok */
function row(name, ours, limit, bar, ok) {
  console.log([name, ours.toFixed(2), limit.toFixed(2), (ours / limit).toFixed(2), bar.toFixed(2), ok ? 'ok' : 'short'].join('\t'));
  return ok;
}

/** Bytes that a row takes on each hop, both ways: prompts of many tokens, less
 * those of one. @param {InstanceType<typeof Grid>} grid @param {InstanceType<typeof DelayProxy>[]} proxies
 * @param {number} width of a row */
async function hops(grid, proxies, width) {
  const measure = async (/** @type {string} */ prompt) => {
    const before = proxies.map((p) => [p.up, p.down, p.requests]);
    const { read } = await batch(grid, 8, 1, prompt);
    return { read, counts: proxies.map((p, i) => [p.up, p.down, p.requests].map((n, k) => n - before[i][k])) };
  };
  const few = await measure('a'), many = await measure('a'.repeat(300));
  const rows = many.read - few.read;
  let worst = 0, limit = 1;
  for (const [i] of proxies.entries()) {
    const [up, down, requests] = many.counts[i].map((n, k) => n - few.counts[i][k]);
    const most = width + width / 32 + 16 + (FRAME * Math.max(requests, 0)) / rows;
    console.log(`pipeline: span ${i + 1}: a row takes ${(up / rows).toFixed(1)} bytes up and ${(down / rows).toFixed(1)} down`);
    if (Math.max(up, down) / rows / most > worst / limit) [worst, limit] = [Math.max(up, down) / rows, most];
  }
  return row('pipeline bytes a row on a hop', worst, limit, 1, worst <= limit);
}

async function main() {
  const folder = mkdtempSync(path.join(tmpdir(), 'synapse-pipeline-'));
  try {
    const model = path.join(folder, path.basename(SOURCE));
    cpSync(await splitModel(SOURCE, SHARDS), model, { recursive: true });
    const { architecture } = JSON.parse(readFileSync(path.join(model, 'manifest.json'), 'utf8'));
    const trips = 1000 / (SPANS * 2 * delayMs);
    const far = await withGrid(folder, delayMs, async (grid, proxies) => {
      const one = await rate(grid, 1);
      const isFast = row('pipeline one sequence, tokens/s beside 1/(3 round trips)', one, trips, 0.8, one >= 0.8 * trips);
      const many = await rate(grid, 32);
      return { isFast, many, isShort: await hops(grid, proxies, architecture.width) };
    });
    const near = await withGrid(folder, 0, (grid) => rate(grid, 32));
    console.log(`pipeline: without delay, 32 sequences: ${near.toFixed(1)} tokens/s`);
    const most = Math.min(32 * trips, near);
    const areFast = row('pipeline 32 sequences, tokens/s beside the lesser limit', far.many, most, 0.6, far.many >= 0.6 * most);
    return far.isFast && far.isShort && areFast ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(`pipeline: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  },
);
