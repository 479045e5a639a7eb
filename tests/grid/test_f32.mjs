// test_f32.mjs - volunteers of class f32 compute parts of a model for batches that
// take it, and for no others; checks of class exact find who lies among them,
// and nobody else.
// @ts-check

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Grid, answerOf, splitModel, synapseOk, until } from './grid.mjs';

const SHARDS = 6, SOURCE = 'ops/models/tales-gpt2', NAME = 'tales-gpt2';

/** @type {string} */
let folder;
/** @type {string} */
let models;
/** @type {string[]} */
let third; // options with which a volunteer holds a third of the model

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'synapse-f32-'));
  models = path.join(folder, 'models');
  cpSync(await splitModel(SOURCE, SHARDS), path.join(models, NAME), { recursive: true });
  const { shards, architecture: a } = JSON.parse(readFileSync(path.join(models, NAME, 'manifest.json'), 'utf8'));
  const kv = a.context * a.kv_heads * (2 * a.head_size + 2) * (a.layers / SHARDS);
  const needs = shards.map((/** @type {any} */ s) => s.bytes + kv);
  const spans = [0, 2, 4].map((at) => needs[at] + needs[at + 1]);
  third = ['--memory', String(Math.ceil(Math.max(...spans) + 0.9 * Math.min(...needs))), '--threads', '1'];
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** @param {number} n @returns {import('./grid.mjs').Request[]} */
function requestsOf(n) {
  const golden = JSON.parse(readFileSync(path.join(SOURCE, 'golden.json'), 'utf8'));
  return Array.from({ length: n }, (_, i) => ({
    custom_id: `line-${i}`, prompt: golden.greedy[i % golden.greedy.length].prompt, max_tokens: 24, temperature: 0,
  }));
}

/** A grid with one volunteer of class exact and two of class f32. */
async function start() {
  const grid = await Grid.start({ args: ['--models', models] });
  grid.volunteer('exact', third);
  for (const name of ['near-1', 'near-2']) grid.volunteer(name, [...third, '--class', 'f32']);
  return grid;
}

/** Lies of each account, by name. @param {Grid} grid @returns {Promise<Map<string, number>>} */
async function lies(grid) {
  const { data } = await grid.ask('/v1/leaderboard');
  return new Map(data.map((/** @type {any} */ v) => [v.name, v.disagreements]));
}

test('class f32 computes where it is taken, and its lines say so', async () => {
  const requests = requestsOf(6);
  const grid = await start();
  try {
    const { id } = await grid.submit(requests, { receipts: true, exact: false });
    const batch = await grid.finished(id);
    assert.equal(batch.status, 'completed');
    assert.equal(batch.synapse.exact, false);
    const lines = await grid.results(id);
    assert.equal(lines.length, requests.length);
    for (const line of lines) {
      const { synapse } = line.response.body;
      assert.equal(synapse.exact, false);
      const classes = new Map(synapse.computed_by.map((/** @type {any} */ m) => [m.name, m.kernel_class]));
      assert.equal(classes.get('exact'), 'exact', 'the head');
      assert.ok([...classes.values()].includes('f32'));
      assert.equal(synapse.receipt.class, 'f32');
      assert.equal(synapse.tokens.length, 24);
    }
    for (const n of (await lies(grid)).values()) assert.equal(n, 0, 'nobody is accused');
    const file = path.join(grid.folder, 'lines.jsonl');
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const { out } = await synapseOk(['verify', file, '--model', path.join(models, NAME)]);
    assert.match(out, /^6 lines hold, 0 do not.*\n6 of them were computed in class f32/);
    lines[0].response.body.synapse.exact = true;
    writeFileSync(file, `${JSON.stringify(lines[0])}\n`);
    await assert.rejects(synapseOk(['verify', file, '--model', path.join(models, NAME)]), /another class/);

    // A batch of class exact waits until its own kind is there for all of it.
    const exact = await grid.submit(requests.slice(0, 1));
    for (const name of ['exact-2', 'exact-3']) grid.volunteer(name, third);
    assert.equal((await grid.finished(exact.id)).status, 'completed');
    const [line] = await grid.results(exact.id);
    const { out: said } = await synapseOk(['run', path.join(models, NAME), '--json', '--prompt', requests[0].prompt,
      '--max-tokens', '24', '--temperature', '0']);
    assert.deepEqual(answerOf(line).tokens, JSON.parse(said).tokens);
    assert.equal(line.response.body.synapse.exact, true);
    for (const maker of line.response.body.synapse.computed_by) assert.equal(maker.kernel_class, 'exact', maker.name);
  } finally {
    assert.deepEqual(await grid.stop(), []);
  }
});

test('a liar of class f32 is found, and nobody else', async () => {
  const grid = await start();
  try {
    await until(async () => (await grid.ask('/v1/stats')).volunteers.length >= 3, 'volunteers');
    grid.liar('liar', 'weights4', [...third, '--class', 'f32', '--models', models]);
    await until(async () => (await grid.ask('/v1/plan')).models[0].spans.some((/** @type {any} */ s) => s.held_by.length > 1),
      'the liar beside another');
    for (let found = 0; found === 0;) {
      const { id } = await grid.submit(requestsOf(8), { exact: false });
      assert.equal((await grid.finished(id)).status, 'completed');
      found = (await lies(grid)).get('liar') ?? 0;
    }
    for (const [name, n] of await lies(grid)) if (name !== 'liar') assert.equal(n, 0, name);
  } finally {
    assert.deepEqual(await grid.stop(), []);
  }
});

test('exact is a boolean, and so is its absence', async () => {
  const grid = await Grid.start({ args: ['--models', models] });
  try {
    await assert.rejects(grid.submit(requestsOf(1), { exact: 'no' }), /exact/);
    const { id } = await grid.submit(requestsOf(1));
    assert.equal((await grid.ask(`/v1/batches/${id}`)).synapse.exact, true);
  } finally {
    assert.deepEqual(await grid.stop(), []);
  }
});
