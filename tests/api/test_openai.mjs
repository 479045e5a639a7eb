// test_openai.mjs - OpenAI's own client, unmodified, with nothing changed but
// the base URL: files, batches, their results, and what is refused.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import OpenAI, { toFile } from 'openai';

import { Grid, runLocal, sleep, until } from '../grid/grid.mjs';

/** @type {Grid} */
let grid;
/** @type {OpenAI} */
let client;

before(async () => {
  grid = await Grid.start();
  client = new OpenAI({ baseURL: `${grid.url}/v1`, apiKey: grid.key, maxRetries: 0 });
});
after(async () => assert.deepEqual(await grid?.stop(), []));

/** @param {string} id @param {any} body @param {string} [url] */
const line = (id, body, url = '/v1/completions') =>
  JSON.stringify({ custom_id: id, method: 'POST', url, body: { model: 'tales-gpt2', ...body } });

/** @param {string[]} lines @param {string} [name] */
const upload = async (lines, name = 'in.jsonl') =>
  client.files.create({ purpose: 'batch', file: await toFile(Buffer.from(lines.join('\n')), name) });

/** @param {string} file @param {any} [more] */
const start = (file, more = {}) =>
  client.batches.create({ input_file_id: file, endpoint: '/v1/completions', completion_window: '24h', ...more });

/** @param {string} id */
const ended = (id) => until(async () => {
  const batch = await client.batches.retrieve(id);
  return ['completed', 'failed', 'expired', 'cancelled'].includes(batch.status) ? batch : null;
}, `end of ${id}`, 60_000);

/** @param {string | undefined} file @returns {Promise<any[]>} */
async function linesOf(file) {
  if (!file) return [];
  const text = await (await client.files.content(file)).text();
  return text.split('\n').filter(Boolean).map((one) => JSON.parse(one));
}

/** @param {Promise<any>} promise @param {number} status @param {string | null} param */
async function refused(promise, status, param) {
  const error = await promise.then((value) => assert.fail(`was not refused: ${JSON.stringify(value)}`), (e) => e);
  assert.ok(error instanceof OpenAI.APIError, String(error));
  assert.equal(error.status, status, error.message);
  assert.equal(error.param ?? null, param, error.message);
}

test('files are uploaded, listed with paging, read and deleted', async () => {
  const text = `${line('a', { prompt: 'One' })}\n\n${line('b', { prompt: 'Two' })}\n`;
  const ids = [];
  for (const name of ['first.jsonl', 'zweité.jsonl', 'third.jsonl']) {
    const file = await client.files.create({ purpose: 'batch', file: await toFile(Buffer.from(text), name) });
    assert.match(file.id, /^file-/);
    assert.deepEqual([file.object, file.bytes, file.filename, file.purpose, file.status],
      ['file', Buffer.byteLength(text), name, 'batch', 'processed']);
    assert.ok(Math.abs(file.created_at - Date.now() / 1000) < 60);
    assert.ok((file.expires_at ?? 0) > file.created_at);
    ids.push(file.id);
    await sleep(5); // the order is by millisecond
  }
  const newest = [];
  for await (const file of client.files.list({ limit: 2 })) newest.push(file.id);
  assert.deepEqual(newest, [...ids].reverse());
  const oldest = [];
  for await (const file of client.files.list({ limit: 1, order: 'asc', purpose: 'batch' })) oldest.push(file.id);
  assert.deepEqual(oldest, ids);
  assert.equal((await client.files.list({ purpose: 'batch_output' })).data.length, 0);
  assert.equal(await (await client.files.content(ids[0])).text(), text);
  for (const id of ids) {
    assert.deepEqual(await client.files.delete(id), { id, object: 'file', deleted: true });
    await refused(client.files.retrieve(id), 404, 'file_id');
    await refused(client.files.content(id), 404, 'file_id');
    await refused(client.files.delete(id), 404, 'file_id');
  }
  assert.equal((await client.files.list()).data.length, 0);
});

/** Let time pass for one entry of a set that is sorted by time. @param {string} set @param {string} id */
const pass = (set, id) => execFileSync('redis-cli', ['-s', path.join(grid.data, 'redis.sock'), 'ZADD', `syn:{0}:${set}`, '1', id]);

test('a file tells when it will go, and then goes from the disk too', async () => {
  const file = await client.files.create({
    purpose: 'batch', file: await toFile(Buffer.from('x'), 'x'), expires_after: { anchor: 'created_at', seconds: 3600 },
  });
  assert.equal(file.expires_at, file.created_at + 3600);
  const there = () => readdirSync(path.join(grid.data, 'files')).includes(`${file.id}.jsonl`);
  assert.ok(there());
  pass('fexp', file.id);
  await until(() => !there(), 'end of the file', 20_000);
  await until(async () => (await client.files.list()).data.length === 0, 'end of its record', 20_000);
  await refused(client.files.retrieve(file.id), 404, 'file_id');
});

test('a batch whose window passes expires, each line with an error', async () => {
  const file = await upload(Array.from({ length: 30 }, (_, i) => line(`e-${i}`, { prompt: 'Once', max_tokens: 50 })));
  const batch = await start(file.id, { completion_window: '1h' });
  assert.equal(batch.expires_at, batch.created_at + 3600);
  await until(async () => (await client.batches.retrieve(batch.id)).status === 'in_progress', 'its queue');
  pass('expiring', batch.id);
  const end = await ended(batch.id);
  assert.equal(end.status, 'expired');
  assert.ok((end.expired_at ?? 0) >= end.created_at);
  assert.deepEqual(end.request_counts, { total: 30, completed: 0, failed: 30 });
  assert.equal(end.output_file_id, null);
  const errors = await linesOf(end.error_file_id);
  assert.equal(new Set(errors.map((one) => one.custom_id)).size, 30);
  for (const one of errors) assert.equal(one.error.code, 'batch_expired');
});

test('wrong uploads are refused by field', async () => {
  const file = () => toFile(Buffer.from('{}'), 'a.jsonl');
  await refused(client.files.create({ purpose: 'assistants', file: await file() }), 400, 'purpose');
  await refused(client.files.create({ purpose: /** @type {any} */ ('p'.repeat(100)), file: await file() }), 400, 'purpose');
  await refused(client.files.create({ purpose: 'batch', file: await file(), expires_after: { anchor: 'created_at', seconds: 5 } }), 400, 'expires_after[seconds]');
  await refused(client.files.create({ purpose: 'batch', file: await file(), expires_after: { anchor: /** @type {any} */ ('x'), seconds: 3600 } }), 400, 'expires_after[anchor]');
  await refused(client.files.create(/** @type {any} */ ({ purpose: 'batch', file: await file(), colour: 'red' })), 400, 'colour');
  await refused(client.files.create({ purpose: 'batch', file: await toFile(Buffer.from('x\n'.repeat(50_001)), 'long') }), 400, 'file');
  await refused(client.files.list({ order: /** @type {any} */ ('up') }), 400, 'order');
  await refused(client.files.list({ limit: 0 }), 400, 'limit');
  await refused(client.files.list({ after: 'file-none' }), 400, 'after');
  await refused(client.files.retrieve('file-none'), 404, 'file_id');
  const stranger = new OpenAI({ baseURL: `${grid.url}/v1`, apiKey: 'sk-syn-wrong', maxRetries: 0 });
  await refused(stranger.files.list(), 401, null);
  await refused(stranger.files.create({ purpose: 'batch', file: await file() }), 401, null);
  /** @param {any} body @param {string} [type] */
  const post = (body, type) => fetch(`${grid.url}/v1/files`, {
    method: 'POST', body, headers: { authorization: `Bearer ${grid.key}`, ...(type ? { 'content-type': type } : {}) },
  });
  assert.equal((await post('{}', 'application/json')).status, 400);
  assert.equal((await post('', 'multipart/form-data')).status, 400);
  assert.equal((await post('--bound\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch', 'multipart/form-data; boundary=bound')).status, 400);
  assert.equal((await post('garbage', 'multipart/form-data; boundary=bound')).status, 400);
  const only = new FormData();
  only.set('purpose', 'batch');
  assert.equal((await (await post(only)).json()).error.param, 'file');
});

test('what makes a whole file no good fails its batch with the line', async () => {
  const good = line('a', { prompt: 'x' });
  /** @type {[string[], string, number][]} */
  const cases = [
    [[good, '{"custom_id": "b", '], 'invalid_json_line', 2],
    [[good, '', '[1]'], 'invalid_json_line', 3],
    [[good, line('b', { prompt: 'x' }), good], 'duplicate_custom_id', 3],
    [[good, line('b', {}, '/v1/chat/completions')], 'invalid_url', 2],
    [[JSON.stringify({ custom_id: 'a', method: 'GET', url: '/v1/completions', body: {} })], 'invalid_method', 1],
    [[JSON.stringify({ custom_id: 'a', method: 'POST', url: '/v1/completions', body: 3 })], 'invalid_body', 1],
    [[JSON.stringify({ method: 'POST', url: '/v1/completions', body: {} })], 'invalid_custom_id', 1],
    [['', '  '], 'empty_file', 1],
    [[], 'empty_file', 1],
  ];
  for (const [lines, code, at] of cases) {
    const file = await upload(lines);
    const batch = await start(file.id);
    assert.ok(['validating', 'failed'].includes(batch.status));
    const end = await ended(batch.id);
    assert.equal(end.status, 'failed', code);
    assert.equal(end.errors?.object, 'list');
    assert.equal(end.errors?.data?.[0].code, code);
    assert.equal(end.errors?.data?.[0].line, at, code);
    assert.ok((end.failed_at ?? 0) >= end.created_at);
    assert.equal(end.output_file_id, null);
  }
});

test('wrong fields of a batch are refused by name', async () => {
  const file = await upload([line('a', { prompt: 'x' })]);
  /** @type {[any, string][]} */
  const cases = [
    [{ endpoint: '/v1/embeddings' }, 'endpoint'], [{ endpoint: undefined }, 'endpoint'],
    [{ completion_window: '30m' }, 'completion_window'], [{ completion_window: '8d' }, 'completion_window'],
    [{ completion_window: 'h' }, 'completion_window'], [{ completion_window: '' }, 'completion_window'],
    [{ input_file_id: 'file-none' }, 'input_file_id'], [{ input_file_id: '' }, 'input_file_id'],
    [{ input_file_id: undefined }, 'input_file_id'], [{ requests: [{ prompt: 'x' }] }, 'input_file_id'],
    [{ metadata: { a: 1 } }, 'metadata'], [{ colour: 'red' }, 'colour'], [{ model: 'none' }, 'model'],
  ];
  for (const [change, param] of cases)
    await refused(client.batches.create({ input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h', ...change }), 400, param);
  await refused(client.batches.cancel('batch_none'), 404, 'batch_id');
});

test('a batch is cancelled: what was not done is dropped', async () => {
  const file = await upload(Array.from({ length: 700 }, (_, i) => line(`c-${i}`, { prompt: 'Once', max_tokens: 50 })));
  const batch = await start(file.id, { completion_window: '7d' });
  assert.equal(batch.completion_window, '168h');
  await until(async () => (await client.batches.retrieve(batch.id)).status === 'in_progress', 'its queue');
  const cancelling = await client.batches.cancel(batch.id);
  assert.ok(['cancelling', 'cancelled'].includes(cancelling.status));
  const end = await ended(batch.id);
  assert.equal(end.status, 'cancelled');
  assert.ok(end.cancelling_at && end.cancelled_at && end.cancelled_at >= end.cancelling_at);
  assert.deepEqual(end.request_counts, { total: 700, completed: 0, failed: 0 });
  assert.equal((await client.batches.cancel(batch.id)).status, 'cancelled');
  assert.equal((await grid.ask('/v1/stats')).queued, 0);
});

test('a batch runs from upload to its output and error files', async () => {
  grid.volunteer('Ada');
  grid.volunteer('Grace');
  const file = await upload([
    line('greedy', { prompt: 'Once upon a time', max_tokens: 12, temperature: 0 }),
    line('sampled', { prompt: 'The cat', max_tokens: 12, temperature: 0.8, top_p: 0.9, seed: 7, logprobs: 1 }),
    line('no-prompt', {}), line('no-model', { prompt: 'x', model: 'gpt-none' }),
    line('odd', { prompt: 'x', logprobs: 30 }),
  ]);
  const batch = await start(file.id, { metadata: { for: 'test' } });
  assert.deepEqual([batch.object, batch.endpoint, batch.input_file_id, batch.completion_window],
    ['batch', '/v1/completions', file.id, '24h']);
  assert.deepEqual(batch.metadata, { for: 'test' });
  assert.equal(batch.expires_at, batch.created_at + 86400);
  const end = await ended(batch.id);
  assert.equal(end.status, 'completed', JSON.stringify(end));
  assert.deepEqual(end.request_counts, { total: 5, completed: 2, failed: 3 });
  const lines = new Map((await linesOf(end.output_file_id)).map((one) => [one.custom_id, one]));
  assert.deepEqual([...lines.keys()].sort(), ['greedy', 'sampled']);
  const truth = await runLocal({ custom_id: '', prompt: 'Once upon a time', max_tokens: 12, temperature: 0 });
  const { response } = lines.get('greedy');
  assert.equal(response.status_code, 200);
  assert.equal(response.body.object, 'text_completion');
  assert.equal(response.body.choices[0].text, truth.text);
  assert.equal(response.body.usage.completion_tokens, truth.tokens.length);
  const sampled = lines.get('sampled').response.body;
  assert.equal(sampled.choices[0].logprobs.tokens.join(''), sampled.choices[0].text);
  const errors = new Map((await linesOf(end.error_file_id)).map((one) => [one.custom_id, one]));
  assert.equal(errors.get('no-prompt').error.param, 'prompt');
  assert.equal(errors.get('no-model').error.code, 'model_not_found');
  assert.match(errors.get('no-model').error.message, /tales-gpt2/);
  assert.equal(errors.get('odd').error.param, 'logprobs');
  const file2 = await client.files.retrieve(end.output_file_id ?? '');
  assert.equal(file2.purpose, 'batch_output');
  // all lines in one, as they became final
  assert.equal((await grid.results(end.id)).length, 5);
  await refused(client.batches.cancel(end.id), 409, 'batch_id');
  const seen = [];
  for await (const one of client.batches.list({ limit: 3 })) seen.push(one.id);
  assert.equal(seen[0], end.id);
  assert.equal(new Set(seen).size, seen.length);
  assert.ok(seen.length > 5);
});

test('a chat batch answers as chat completions', async () => {
  const url = '/v1/chat/completions';
  const messages = [{ role: 'user', content: 'Once upon a time' }];
  const file = await upload([
    line('chat', { messages, max_completion_tokens: 9, temperature: 0 }, url),
    line('parts', { messages: [{ role: 'user', content: [{ type: 'text', text: 'Once upon' }, { type: 'text', text: ' a time' }] }], max_tokens: 9, temperature: 0 }, url),
    line('role', { messages: [{ role: 'tool', content: 'x' }] }, url),
    line('none', { messages: [] }, url),
    line('image', { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }, url),
    line('tools', { messages, tools: [{ type: 'function' }] }, url),
  ]);
  const end = await ended((await start(file.id, { endpoint: url })).id);
  assert.deepEqual(end.request_counts, { total: 6, completed: 2, failed: 4 });
  const truth = await runLocal({ custom_id: '', prompt: 'Once upon a time', max_tokens: 9, temperature: 0 });
  for (const { response } of await linesOf(end.output_file_id)) {
    assert.equal(response.body.object, 'chat.completion');
    assert.deepEqual(response.body.choices[0].message, { role: 'assistant', content: truth.text, refusal: null });
  }
  const params = new Map((await linesOf(end.error_file_id)).map((one) => [one.custom_id, one.error.param]));
  assert.deepEqual(Object.fromEntries(params), { role: 'messages', none: 'messages', image: 'messages', tools: 'tools' });
});

test('an output file that was deleted is gone; the batch is still there', async () => {
  const end = await ended((await start((await upload([line('a', { prompt: 'Hi', max_tokens: 2 })])).id)).id);
  const id = end.output_file_id ?? '';
  assert.equal(end.error_file_id, null);
  await client.files.delete(id);
  await refused(client.files.content(id), 404, 'file_id');
  assert.equal((await client.batches.retrieve(end.id)).output_file_id, id);
  assert.equal((await fetch(`${grid.url}/v1/batches/${end.id}/results`, { headers: { authorization: `Bearer ${grid.key}` } })).status, 404);
});

test('models are listed and told one by one', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.deepEqual(ids, ['tales-gpt2']);
  const model = await client.models.retrieve('tales-gpt2');
  assert.deepEqual([model.id, model.object, model.owned_by], ['tales-gpt2', 'model', 'synapse']);
  await refused(client.models.retrieve('gpt-none'), 404, 'model');
});
