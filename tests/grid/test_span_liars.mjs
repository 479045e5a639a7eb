// test_span_liars.mjs - real liars that hold the middle of a model: what they
// told is found in the rows that crossed the boundary behind them, they are
// blamed and banned, and the lines are those of the whole model.
// @ts-check

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Grid, answerOf, splitModel, synapseOk, until } from './grid.mjs';

const SHARDS = 6, SOURCE = 'tests/models/tales-llama', NAME = path.basename(SOURCE);
const SPANS = ['0-2', '2-4', '4-6'];

/** @type {string} */
let folder;
let memory = 0; // holds two shards of six, and not three

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'synapse-liars-'));
  cpSync(await splitModel(SOURCE, SHARDS), path.join(folder, NAME), { recursive: true });
  const { shards, architecture: a } = JSON.parse(readFileSync(path.join(folder, NAME, 'manifest.json'), 'utf8'));
  const kv = a.context * a.kv_heads * (2 * a.head_size + 2) * (a.layers / SHARDS);
  /** @type {number[]} */
  const needs = shards.map((/** @type {any} */ s) => s.bytes + kv);
  memory = Math.max(...[0, 2, 4].map((i) => needs[i] + needs[i + 1])) + Math.floor(0.9 * Math.min(...needs));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** @param {number} n @returns {import('./grid.mjs').Request[]} */
function requests(n) {
  const golden = JSON.parse(readFileSync(path.join(SOURCE, 'golden.json'), 'utf8'));
  return Array.from({ length: n }, (_, i) => ({
    custom_id: `line-${i}`, prompt: golden.greedy[i % golden.greedy.length].prompt, max_tokens: 6 + (i % 3), temperature: 0,
  }));
}

/** What `synapse run` says, each request once. @param {import('./grid.mjs').Request[]} all */
async function truths(all) {
  /** @type {Map<string, any>} */
  const said = new Map();
  for (const r of all) {
    const key = `${r.max_tokens} ${r.prompt}`;
    if (!said.has(key)) {
      const { out } = await synapseOk(['run', path.join(folder, NAME), '--json', '--prompt', r.prompt,
        '--max-tokens', String(r.max_tokens), '--temperature', '0']);
      const { text, tokens, finish_reason } = JSON.parse(out);
      said.set(key, { text, tokens, finish_reason });
    }
  }
  return all.map((r) => said.get(`${r.max_tokens} ${r.prompt}`));
}

/** A volunteer pinned to a span; a liar if it has a plan to cheat. @typedef {{name: string, span: number, cheat?: string}} Member */

/** Let these compute n lines. @param {Member[]} team @param {string[]} args of the server @param {number} n */
async function compute(team, args, n) {
  const grid = await Grid.start({ args: ['--models', folder, ...args] });
  try {
    const made = await synapseOk(['keys', 'create', '--data', grid.data, '--name', 'op', '--scopes', 'operate']);
    const pin = (/** @type {string[]} */ ...how) =>
      synapseOk(['plan', grid.url, '--model', NAME, '--key', made.out.trim().split('\n').at(-1) ?? '', ...how]);
    await pin('--path', '2,4');
    for (const { name, span } of team) await pin('--volunteer', name, '--span', SPANS[span]);
    for (const { name, cheat } of team) {
      const its = ['--memory', String(memory), '--threads', '1', '--sequences', '8'];
      if (cheat) grid.liar(name, cheat, ['--models', folder, ...its]);
      else grid.volunteer(name, its);
    }
    await until(async () => {
      const [model] = (await grid.ask('/v1/plan')).models;
      const held = model.spans.slice(1).map((/** @type {any} */ s) => s.held_by.length);
      return held.reduce((/** @type {number} */ n, /** @type {number} */ m) => n + m, 0) >= team.length;
    }, 'team that holds its spans', 30_000);
    const lines = requests(n);
    const { id } = await grid.submit(lines, { receipts: true });
    const batch = await grid.finished(id);
    const results = new Map((await grid.results(id)).map((line) => [line.custom_id, line]));
    const board = (await grid.ask('/v1/leaderboard')).data;
    return { batch, lines, results, board };
  } finally {
    assert.deepEqual(await grid.stop(), []);
  }
}

/** Every line is right; of the team the liars were found out, and nobody else.
 * @param {Member[]} team @param {Awaited<ReturnType<typeof compute>>} outcome @param {boolean} allBanned */
async function assertCaught(team, { lines, results, board }, allBanned) {
  const truth = await truths(lines);
  for (const [i, line] of lines.entries())
    assert.deepEqual(answerOf(results.get(line.custom_id)), truth[i], line.custom_id);
  for (const { name, cheat } of team) {
    const row = board.find((/** @type {any} */ r) => r.name === name);
    if (cheat) assert.ok(row.disagreements > 0, `${name} was not found out`);
    else assert.equal(row?.disagreements ?? 0, 0, `${name} was honest`);
    if (cheat && allBanned) assert.ok(row.banned, `${name} was wrong ${row.disagreements} times`);
  }
}

test('liars in the middle of a model are found by its rows, and banned', async () => {
  const team = [
    { name: 'front', span: 0 }, { name: 'back', span: 2 }, { name: 'honest', span: 1 },
    { name: 'four-bits', span: 1, cheat: 'weights4' }, { name: 'kv', span: 1, cheat: 'kv' },
    { name: 'exponents', span: 1, cheat: 'exponents' },
  ];
  const outcome = await compute(team, [], 40);
  await assertCaught(team, outcome, true);
  assert.ok(outcome.batch.synapse.check_overhead > 0);
  for (const line of outcome.results.values())
    for (const check of line.response.body.synapse.receipt.checked_by) assert.ok(SPANS.includes(check.span.join('-')));
});

test('without a referee those who hold the span decide', async () => {
  const team = [
    { name: 'front-1', span: 0 }, { name: 'front-2', span: 0 }, { name: 'back-1', span: 2 }, { name: 'back-2', span: 2 },
    { name: 'middle-1', span: 1 }, { name: 'middle-2', span: 1 }, { name: 'random', span: 1, cheat: 'random' },
  ];
  await assertCaught(team, await compute(team, ['--no-referee'], 30), false);
});
