// churn.mjs - volunteers that leave while a model runs over three spans.
//
//   ops/bench/churn [--lines N] [--natives N] [--browsers N] [--every MS]
//                   [--tokens N] [--seed S]
//
// A batch of N (100) lines; every so many milliseconds (2000) a random native
// volunteer is killed or frozen (SIGSTOP) and a new one joins. Every line must
// come once, with the text of `synapse run`. Lines with tabs at the end: name,
// ours, limit, ratio, bar, ok or short. The programs are those of SYNAPSE_BUILD
// (default: build/release, else build/dev).
// @ts-check

import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
process.env.SYNAPSE_BUILD ??=
  existsSync(path.join(ROOT, 'build/release/bin/synapsed')) ? 'build/release' : 'build/dev';
const { Grid, answerOf, kill, sleep, splitModel, synapseOk } = await import('../../tests/grid/grid.mjs');
const { launchChromium } = await import('../lib/browsers.mjs');

const SOURCE = 'ops/models/tales-gpt2', SHARDS = 6;

/** @param {string} name @param {number} fallback */
function optionOf(name, fallback) {
  const at = process.argv.indexOf(name);
  return at > 0 ? Number(process.argv[at + 1]) : fallback;
}
const nLines = optionOf('--lines', 100), nNatives = optionOf('--natives', 6), nBrowsers = optionOf('--browsers', 2);
const everyMs = optionOf('--every', 2000), tokens = optionOf('--tokens', 24), seed = optionOf('--seed', Date.now() % 1_000_000);

// A small generator (mulberry32), so that a seed repeats the same choices.
let state = seed;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

const golden = JSON.parse(readFileSync(path.join(ROOT, SOURCE, 'golden.json'), 'utf8'));
/** @type {import('../../tests/grid/grid.mjs').Request[]} */
const requests = Array.from({ length: nLines }, (_, i) => ({
  custom_id: `line-${i}`, prompt: golden.greedy[i % golden.greedy.length].prompt, max_tokens: tokens,
  ...(i % 2 ? { temperature: 0.9, top_p: 0.9, seed: i } : { temperature: 0 }),
}));

/** @param {string} model @param {import('../../tests/grid/grid.mjs').Request} request */
async function truth(model, request) {
  const args = ['run', model, '--json', '--prompt', request.prompt, '--max-tokens', String(tokens),
    '--temperature', String(request.temperature)];
  if (request.top_p) args.push('--top-p', String(request.top_p), '--seed', String(request.seed));
  const { text, tokens: ids, finish_reason } = JSON.parse((await synapseOk(args)).out);
  return { text, tokens: ids, finish_reason };
}

/** What two shards take, and a little. @param {string} model */
function memoryOf(model) {
  const { shards, architecture: a } = JSON.parse(readFileSync(path.join(model, 'manifest.json'), 'utf8'));
  const kv = a.context * a.kv_heads * (2 * a.head_size + 2);
  const needs = shards.map((/** @type {any} */ s) => s.bytes + kv);
  return Math.ceil(Math.max(...[0, 2, 4].map((i) => needs[i] + needs[i + 1])) + 0.9 * Math.min(...needs));
}

/** What is wrong with the lines, in words. @param {any[]} lines @param {Map<string, any>} truths */
function faultsOf(lines, truths) {
  const faults = [], seen = new Map();
  for (const line of lines) seen.set(line.custom_id, (seen.get(line.custom_id) ?? 0) + 1);
  for (const { custom_id } of requests)
    if (seen.get(custom_id) !== 1) faults.push(`${custom_id} came ${seen.get(custom_id) ?? 0} times`);
  for (const line of lines) {
    const got = JSON.stringify(answerOf(line)), want = JSON.stringify(truths.get(line.custom_id));
    if (got !== want) faults.push(`${line.custom_id} is ${got}, not ${want}`);
  }
  return faults;
}

async function main() {
  const folder = mkdtempSync(path.join(tmpdir(), 'synapse-churn-'));
  const model = path.join(folder, path.basename(SOURCE));
  cpSync(await splitModel(SOURCE, SHARDS), model, { recursive: true });
  /** @type {Map<string, any>} */
  const truths = new Map();
  for (const request of requests) truths.set(request.custom_id, await truth(model, request));
  console.log(`churn: seed ${seed}, ${process.env.SYNAPSE_BUILD}`);
  const memory = String(memoryOf(model));
  const grid = await Grid.start({ args: ['--models', folder] });
  const browser = nBrowsers ? await launchChromium() : undefined;
  /** @type {InstanceType<typeof import('../../tests/grid/grid.mjs').Volunteer>[]} */
  const living = [];
  let joined = 0, killed = 0, frozen = 0;
  const enlist = () => living.push(grid.volunteer(`v${joined++}`, ['--memory', memory, '--threads', '1', '--quiet']));
  try {
    for (let i = 0; i < nNatives; i++) enlist();
    for (let i = 0; i < nBrowsers; i++) {
      const context = await /** @type {import('playwright-core').Browser} */ (browser).newContext();
      await context.addInitScript(() => localStorage.setItem('synapse.settings', JSON.stringify({ maxMb: 16, intensity: 100 })));
      await (await context.newPage()).goto(`${grid.url}/contribute?autostart=1&name=page${i}`);
    }
    const start = Date.now();
    const { id } = await grid.submit(requests);
    const end = grid.finished(id, 600_000);
    let over = false;
    end.finally(() => { over = true; }).catch(() => {});
    while (!over) {
      await Promise.race([end, sleep(everyMs)]);
      if (over) break;
      const [one] = living.splice(Math.floor(random() * living.length), 1);
      const freeze = random() < 0.5;
      kill(one.child.pid, freeze ? 'SIGSTOP' : 'SIGKILL');
      if (freeze) frozen++; // it is killed when all is over
      else killed++;
      enlist();
    }
    const batch = await end;
    const faults = batch.status === 'completed' ? faultsOf(await grid.results(id), truths) : [`it is ${batch.status}`];
    const right = Math.max(0, nLines - faults.length);
    console.log(`churn: ${killed} killed, ${frozen} frozen, ${((Date.now() - start) / 1000).toFixed(1)} s; ` +
      `${faults.slice(0, 3).join('; ') || 'all lines right'}`);
    console.log(['churn lines right', right, nLines, (right / nLines).toFixed(2), '1.00', faults.length ? 'short' : 'ok'].join('\t'));
    return faults.length ? 1 : 0;
  } finally {
    for (const volunteer of grid.volunteers) kill(volunteer.child.pid, 'SIGKILL'); // frozen ones cannot leave
    await browser?.close();
    await grid.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(`churn: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  },
);
