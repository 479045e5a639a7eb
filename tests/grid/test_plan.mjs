// test_plan.mjs - who is to hold which part of a model that nobody can hold
// whole: shown, pinned, and told where it is not enough.
// @ts-check

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Grid, synapse, synapseOk, until } from './grid.mjs';

const folder = mkdtempSync(path.join(tmpdir(), 'synapse-plan-'));
/** @type {Grid} */
let grid;
let operator = '';
let memory = 0; // holds two shards of six, and not three

before(async () => {
  const model = path.join(folder, 'tales-gpt2');
  await synapseOk(['split', 'ops/models/tales-gpt2', model, '--shards', '6']);
  const { shards, architecture: a } = JSON.parse(readFileSync(path.join(model, 'manifest.json'), 'utf8'));
  const kv = a.context * a.kv_heads * (2 * a.head_size + 2);
  /** @type {number[]} */
  const needs = shards.map((/** @type {any} */ s) => s.bytes + kv);
  const pair = Math.max(needs[0] + needs[1], needs[2] + needs[3], needs[4] + needs[5]);
  memory = pair + Math.floor(Math.min(...needs) / 2);
  grid = await Grid.start({ args: ['--models', folder, '--no-referee'] });
  const made = await synapseOk(['keys', 'create', '--data', grid.data, '--name', 'op', '--scopes', 'operate']);
  operator = made.out.trim().split('\n').at(-1) ?? '';
});

after(async () => {
  assert.deepEqual(await grid.stop(), []);
  rmSync(folder, { recursive: true });
});

/** A volunteer that only says that it is there. @param {string} name */
async function join(name) {
  const response = await fetch(`${grid.url}/v1/volunteers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      account: randomBytes(32).toString('hex'), name, backend: 'native-ref', kernel_class: 'exact', memory, threads: 1,
    }),
  });
  assert.equal(response.status, 201);
  return (await response.json()).id;
}

/** The spans of the plan that are no whole model. */
async function spans() {
  const [model] = (await grid.ask('/v1/plan')).models;
  return model.spans.slice(1);
}

test('a batch waits and says which shard nobody can hold, until somebody can', async () => {
  const { id } = await grid.submit([{ custom_id: 'a', prompt: 'Once', max_tokens: 4 }]);
  const why = async () => (await grid.ask(`/v1/batches/${id}`)).synapse.waiting_because ?? '';
  await until(async () => /no volunteer/.test(await why()), 'batch that waits for volunteers');
  await join('one');
  await join('two');
  await until(async () => /^shard [1-6] of 6 has nobody/.test(await why()), 'batch that waits for a shard');
  const shown = (await synapseOk(['plan', grid.url])).out;
  assert.match(shown, /tales-gpt2, 6 shards/);
  assert.match(shown, /shard [1-6] of 6 has nobody/);
  await join('three');
  await until(async () => (await why()) === '', 'batch that waits for nothing');
  const all = await spans();
  assert.deepEqual(all.map((/** @type {any} */ s) => s.to_be_held_by.length), [1, 1, 1]);
  assert.deepEqual([all[0].first, all[0].end, all[1].end, all[2].end], [0, all[1].first, all[2].first, 6]);
});

test('the operator pins where a model is cut and what a volunteer holds', async () => {
  const pin = (/** @type {string[]} */ ...args) =>
    synapse(['plan', grid.url, '--model', 'tales-gpt2', '--key', operator, ...args]);
  const refused = await synapse(['plan', grid.url, '--model', 'tales-gpt2', '--path', '3', '--key', grid.key]);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /operate/);
  for (const [args, said] of [
    [['--path', '3,2'], /path must ascend/],
    [['--path', '7'], /path must ascend/],
    [['--path', 'x'], /shard numbers/],
    [['--volunteer', 'one', '--span', '2'], /first and end/],
  ]) {
    const bad = await pin(.../** @type {string[]} */ (args));
    assert.equal(bad.code, 1, String(args));
    assert.match(bad.err, /** @type {RegExp} */ (said));
  }
  assert.equal((await pin('--path', '1,4')).code, 0);
  await until(async () => (await spans()).length === 3 && (await spans())[1].first === 1, 'pinned path');
  assert.match((await synapseOk(['plan', grid.url])).out, /pinned/);
  assert.equal((await pin('--volunteer', 'three', '--span', '0-1')).code, 0);
  const held = async () => (await grid.ask('/v1/plan')).volunteers.find((/** @type {any} */ v) => v.name === 'three').to_hold;
  await until(async () => String(await held()) === '0,1', 'volunteer where it was pinned');
  assert.equal((await pin('--volunteer', 'three', '--unpin')).code, 0);
  assert.equal((await pin('--volunteer', 'four', '--span', '1-4')).code, 0);
  await join('four');
  const four = (await grid.ask('/v1/plan')).volunteers.find((/** @type {any} */ v) => v.name === 'four');
  assert.deepEqual(four.to_hold, [1, 4], 'who joins by a pinned name is told at once');
  assert.equal((await pin('--volunteer', 'four', '--unpin')).code, 0);
  assert.equal((await pin('--unpin')).code, 0);
  assert.equal((await grid.ask('/v1/plan')).models[0].pinned, false);
});
