// test_grid.mjs - batches through a whole grid: whoever computes, the lines are
// those of `synapse run`.
// @ts-check

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';

import { Grid, ROOT, synapse, synapseOk, until } from './grid.mjs';
import { Truth, computers } from './truth.mjs';

/** @type {{greedy: {prompt: string}[]}} */
const golden = JSON.parse(readFileSync(path.join(ROOT, 'ops/models/tales-gpt2/golden.json'), 'utf8'));
const prompts = golden.greedy.map((entry) => entry.prompt).slice(0, 10);

/** Ten prompts, greedy and sampled. @type {import('./grid.mjs').Request[]} */
const requests = prompts.flatMap((prompt, i) => [
  { custom_id: `greedy-${i}`, prompt, max_tokens: 24, temperature: 0 },
  { custom_id: `sampled-${i}`, prompt, max_tokens: 24, temperature: 0.9, top_p: 0.95, seed: 1000 + i },
]);
/** @type {Truth} */
let truth;

before(async () => {
  truth = await Truth.of(requests);
});

test('twenty lines by three volunteers of different kernels are those of synapse run', async () => {
  const grid = await Grid.start();
  try {
    grid.volunteer('Ada', ['--isa', 'ref', '--threads', '1', '--sequences', '3']);
    grid.volunteer('Grace', ['--threads', '3', '--sequences', '3']);
    grid.volunteer('Edsger', ['--sequences', '3', '--intensity', '50']);
    await grid.ready(3);
    const lines = await truth.compute(grid);
    for (const line of lines) {
      const { computed_by, checked_by } = line.response.body.synapse;
      assert.ok(computed_by.length > 0);
      assert.ok(!computed_by.some((/** @type {any} */ v) => v.name === checked_by?.name),
        'nobody checks a line of its own');
    }
    const checked = lines.filter((line) => line.response.body.synapse.checked_by);
    assert.ok(checked.length >= 10, 'newcomers are always checked');
    await truth.computeUntil(grid, (one) => one.name, ['Ada', 'Edsger', 'Grace'],
      new Set(computers(lines).map((one) => one.name)));
  } finally {
    assert.deepEqual(await grid.stop(), [], 'no process is left');
  }
});

test('a lone device completes a batch', async () => {
  const grid = await Grid.start();
  try {
    grid.volunteer('Robinson');
    const lines = await truth.compute(grid);
    assert.deepEqual([...new Set(computers(lines).map((one) => one.name))], ['Robinson']);
  } finally {
    await grid.stop();
  }
});

test('a volunteer that answers wrongly gets no wrong line delivered and shows on the leaderboard', async () => {
  const grid = await Grid.start();
  try {
    grid.liar('Mallory', 'token', ['--sequences', '4']);
    const { id } = await grid.submit(requests);
    await until(async () => (await grid.ask('/v1/stats')).disagreements > 0, 'lie that was found');
    grid.volunteer('Ada', ['--sequences', '4']);
    await grid.finished(id);
    truth.assertLines(await grid.results(id));
    const board = await grid.ask('/v1/leaderboard');
    const row = board.data.find((/** @type {any} */ r) => r.name === 'Mallory');
    const honest = board.data.find((/** @type {any} */ r) => r.name === 'Ada');
    assert.ok(row && row.disagreements > 0, JSON.stringify(board.data));
    assert.equal(honest?.disagreements, 0, JSON.stringify(board.data));
  } finally {
    await grid.stop();
  }
});

for (const mode of ['print', 'short', 'unit', 'frame']) {
  test(`lines are right beside a volunteer with wrong results (${mode})`, async () => {
    const grid = await Grid.start();
    try {
      grid.liar('Mallory', `${mode},chance=500`, ['--sequences', '4']);
      grid.volunteer('Ada', ['--sequences', '4']);
      await grid.ready(2);
      await truth.compute(grid);
    } finally {
      await grid.stop();
    }
  });
}

test('a volunteer that leaves gives its work back at once', async () => {
  const grid = await Grid.start();
  try {
    const slow = grid.volunteer('Slow', ['--delay-ms', '60000']);
    const { id } = await grid.submit(requests);
    const running = async () => (await grid.ask(`/v1/batches/${id}`)).synapse.running;
    await until(async () => (await running()) > 0, 'lines that it has taken');
    assert.equal(await slow.stop('SIGTERM'), 0);
    assert.equal(await running(), 0, 'nothing waits for the lease to end');
    grid.volunteer('Ada');
    await grid.finished(id);
    truth.assertLines(await grid.results(id));
  } finally {
    await grid.stop();
  }
});

test('synapse submit streams the lines of a file and fails if one of them fails', async () => {
  const grid = await Grid.start();
  try {
    grid.volunteer('Ada');
    const file = path.join(grid.folder, 'batch.jsonl');
    const out = path.join(grid.folder, 'out.jsonl');
    writeFileSync(file, requests.map((request) => JSON.stringify(request)).join('\n'));
    const env = { SYNAPSE_API_KEY: grid.key };
    await synapseOk(['submit', grid.url, file, '--out', out], { env });
    truth.assertLines(readFileSync(out, 'utf8').trim().split('\n').map((line) => JSON.parse(line)));

    writeFileSync(file, [
      { custom_id: 'good', body: { prompt: prompts[0], max_tokens: 4, temperature: 0 } },
      { custom_id: 'bad', prompt: prompts[1], max_tokens: -4 },
    ].map((line) => JSON.stringify(line)).join('\n'));
    const mixed = await synapse(['submit', grid.url, file], { env });
    assert.equal(mixed.code, 1);
    assert.match(mixed.err, /1 of 2 lines failed/);
    assert.equal(mixed.out.trim().split('\n').length, 2);

    const refused = await synapse(['submit', grid.url, file, '--key', 'sk-syn-wrong']);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /401/);
  } finally {
    await grid.stop();
  }
});

test('an API key can be listed and revoked', async () => {
  const grid = await Grid.start();
  try {
    const list = (await synapseOk(['keys', 'list', '--data', grid.data])).out;
    assert.match(list, /^key_\S+ {2}\.\.\.\S{4} {2}.* valid +test$/m);
    assert.ok(!list.includes(grid.key), 'the key itself is not kept');
    const id = /^key_\S+/m.exec(list)?.[0] ?? '';
    await synapseOk(['keys', 'revoke', id, '--data', grid.data]);
    await assert.rejects(grid.submit(requests), /401/);
    const unknown = await synapse(['keys', 'revoke', 'key_none', '--data', grid.data]);
    assert.equal(unknown.code, 1);
  } finally {
    await grid.stop();
  }
});
