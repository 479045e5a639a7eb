// test_choices.mjs - lines of batches with several choices: the same texts as
// /v1/completions and `synapse run` give, one output line, counted once, and a
// receipt for each choice.
// @ts-check

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Grid, runLocal, synapse, until } from '../grid/grid.mjs';

const prompt = 'Once upon a time';
const several = { custom_id: 'several', prompt, max_tokens: 9, temperature: 1, seed: 40, n: 3 };
/** @type {any[]} */
const requests = [
  { custom_id: 'one', prompt, max_tokens: 6, temperature: 0 },
  several,
  { custom_id: 'own seeds', prompt: 'The wolf', max_tokens: 7, temperature: 1.1, n: 8, logprobs: 1 },
  { custom_id: 'stopped', prompt, max_tokens: 40, temperature: 0.8, seed: 3, n: 2, stop: [' the', 'a'] },
  { custom_id: 'too many', prompt, n: 17 },
  { custom_id: 'n is one', prompt, max_tokens: 5, temperature: 0, n: 1 },
];

/** @type {Grid} */
let grid;
/** @type {any} */
let batch;
/** @type {Map<string, any>} */
let lines;

before(async () => {
  grid = await Grid.start();
  grid.volunteer('Ada');
  grid.volunteer('Grace');
  const { id } = await grid.submit(requests, { receipts: true });
  batch = await grid.finished(id);
  const all = await grid.results(id);
  assert.equal(all.length, requests.length);
  lines = new Map(all.map((/** @type {any} */ line) => [line.custom_id, line]));
});
after(async () => assert.deepEqual(await grid?.stop(), []));

/** @param {string} id */
const bodyOf = (id) => lines.get(id).response.body;
/** @param {any} more */
const local = (more) => runLocal({ custom_id: '', prompt, ...more });

test('a line is one line and one request, whatever its choices', async () => {
  assert.deepEqual(batch.request_counts, { total: 6, completed: 5, failed: 1 });
  assert.equal(lines.size, 6);
  const { queued, running, checking } = batch.synapse;
  assert.deepEqual([queued, running, checking], [0, 0, 0]);
  assert.equal(lines.get('too many').error.param, 'requests[4].n');
  assert.match(lines.get('too many').error.message, /16/);
  const tokens = [...lines.values()].reduce((sum, l) => sum + (l.response?.body.usage.completion_tokens ?? 0), 0);
  assert.equal(batch.synapse.tokens, tokens);
  const prompts = [...lines.values()].reduce((sum, l) => sum + (l.response?.body.usage.prompt_tokens ?? 0), 0);
  assert.deepEqual([batch.usage.input_tokens, batch.usage.output_tokens, batch.usage.total_tokens], [prompts, tokens, prompts + tokens]);
});

test('its texts are those of synapse run with seeds that count up, and of /v1/completions', async () => {
  const body = bodyOf('several');
  assert.deepEqual(body.choices.map((/** @type {any} */ c) => c.index), [0, 1, 2]);
  let n_tokens = 0;
  for (const [i, choice] of body.choices.entries()) {
    const truth = await local({ max_tokens: 9, temperature: 1, seed: 40 + i });
    assert.equal(choice.text, truth.text);
    assert.equal(choice.finish_reason, truth.finish_reason);
    const told = i === 0 ? body.synapse : choice.synapse;
    assert.deepEqual([told.seed, told.tokens], [40 + i, truth.tokens]);
    n_tokens += truth.tokens.length;
  }
  const { custom_id: _, ...request } = several;
  const asked = await grid.ask('/v1/completions', request);
  /** @param {any} b */
  const said = (b) => b.choices.map((/** @type {any} */ c) => [c.index, c.text, c.finish_reason, c.logprobs]);
  assert.deepEqual(said(body), said(asked));
  assert.deepEqual(body.usage, asked.usage);
  assert.equal(body.usage.completion_tokens, n_tokens);
  assert.equal(body.usage.total_tokens, body.usage.prompt_tokens + n_tokens);
});

test('seeds that were drawn are told, and count up too', async () => {
  const { choices, synapse: first } = bodyOf('own seeds');
  assert.equal(choices.length, 8);
  assert.ok(new Set(choices.map((/** @type {any} */ c) => c.text)).size > 1);
  for (const [i, choice] of choices.entries()) {
    if (i > 0) assert.equal(choice.synapse.seed, first.seed + i);
    assert.equal(choice.logprobs.tokens.join(''), choice.text);
  }
  const truth = await runLocal({ custom_id: '', prompt: 'The wolf', max_tokens: 7, temperature: 1.1, seed: first.seed + 7 });
  assert.equal(choices[7].text, truth.text);
});

test('lines beside it are as ever', async () => {
  for (const [id, max_tokens] of /** @type {[string, number][]} */ ([['one', 6], ['n is one', 5]])) {
    const body = bodyOf(id);
    assert.equal(body.choices.length, 1);
    assert.equal(body.choices[0].text, (await local({ max_tokens, temperature: 0 })).text);
    assert.equal(body.synapse.receipt.custom_id, id);
    assert.equal(body.synapse.receipts, undefined);
  }
});

test('a chat line has choices too, and so has one of an uploaded file', async () => {
  const messages = [{ role: 'user', content: prompt }];
  const form = new FormData();
  const line = { custom_id: 'c', method: 'POST', url: '/v1/chat/completions',
    body: { model: 'tales-gpt2', messages, max_tokens: 5, temperature: 0.9, seed: 11, n: 2 } };
  form.set('purpose', 'batch');
  form.set('file', new Blob([`${JSON.stringify(line)}\n`]), 'x.jsonl');
  const headers = { authorization: `Bearer ${grid.key}` };
  const file = /** @type {any} */ (await (await fetch(`${grid.url}/v1/files`, { method: 'POST', headers, body: form })).json());
  const made = await grid.ask('/v1/batches', { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
  const done = await grid.finished(made.id);
  assert.deepEqual(done.request_counts, { total: 1, completed: 1, failed: 0 });
  const text = await (await fetch(`${grid.url}/v1/files/${done.output_file_id}/content`, { headers })).text();
  const { choices, object } = JSON.parse(text).response.body;
  assert.equal(object, 'chat.completion');
  assert.equal(text.trim().split('\n').length, 1);
  for (const [i, choice] of choices.entries())
    assert.equal(choice.message.content, (await local({ max_tokens: 5, temperature: 0.9, seed: 11 + i })).text);
  assert.equal(choices.length, 2);
});

test('each choice has a receipt, and synapse verify looks at every one', async () => {
  let files = 0;
  /** @param {any[]} some @param {string[]} args */
  const verify = (some, ...args) => {
    const file = path.join(grid.folder, `choices-${++files}.jsonl`);
    writeFileSync(file, some.map((l) => `${JSON.stringify(l)}\n`).join(''));
    return synapse(['verify', file, ...args]);
  };
  const model = ['--model', path.join(grid.models, 'tales-gpt2')];
  const good = await verify([...lines.values()], ...model);
  assert.equal(good.code, 0, good.err);
  assert.match(good.out, new RegExp(`^5 lines hold, 0 do not, 1 are errors; ${batch.synapse.tokens} tokens computed again`));
  assert.equal(bodyOf('several').synapse.receipt, undefined);
  assert.equal(bodyOf('several').synapse.receipts.length, 3);

  /** @type {[(body: any) => void, RegExp][]} */
  const changes = [
    [(b) => { b.choices[2].text += '!'; }, /line 1: choice 2: the receipt is about another text/],
    [(b) => { b.synapse.receipts[1].tokens[0] ^= 1; }, /line 2: choice 1: its signature does not hold/],
    [(b) => { b.synapse.receipts.pop(); }, /line 3: it has 3 choices, and 2 receipts/],
    [(b) => { delete b.synapse.receipts; }, /line 4: it has no receipts/],
    [(b) => { b.choices[1].text = b.choices[0].text; b.synapse.receipts[1] = b.synapse.receipts[0]; }, /line 5: choice 1: its seed is not that of choice 1/],
    [(b) => { b.usage.completion_tokens++; }, /line 6: usage has other counts/],
    [(b) => { b.choices.pop(); b.synapse.receipts.pop(); }, /line 7: usage has other counts/],
  ];
  const bad = changes.map(([change]) => {
    const line = structuredClone(lines.get('several'));
    change(line.response.body);
    return line;
  });
  const run = await verify(bad, '--signature-only');
  assert.equal(run.code, 1);
  assert.match(run.out, /^0 lines hold, 7 do not/);
  for (const [i, told] of run.err.trim().split('\n').entries()) assert.match(told, changes[i][1]);
});

test('a batch that is cancelled leaves no choices behind', async () => {
  const many = Array.from({ length: 40 }, (_, i) => ({ custom_id: `c-${i}`, prompt: 'The', max_tokens: 300, temperature: 1, n: 4 }));
  const { id } = await grid.submit(many);
  await until(async () => (await grid.ask(`/v1/batches/${id}`)).synapse.queued > 0, 'a queue', 30_000);
  await grid.ask(`/v1/batches/${id}/cancel`, {});
  const gone = await until(async () => {
    const now = await grid.ask(`/v1/batches/${id}`);
    return now.status === 'cancelled' && now;
  }, 'its end', 30_000);
  const { total, completed, failed } = gone.request_counts;
  assert.deepEqual([total, failed], [40, 0]);
  for (const line of completed ? await grid.results(id) : []) assert.equal(line.response.body.choices.length, 4);
  await until(async () => {
    const { queued, running, checking } = await grid.ask('/v1/stats');
    return queued + running + checking === 0;
  }, 'an empty grid', 30_000);
});
