// test_types.mjs - what the server answers is what OpenAI's client says that it
// is: each answer is checked against the types of the official package by the
// TypeScript compiler. Where a time or a file is not there yet, the types leave
// the field out and the wire has null, as OpenAI's own does.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import ts from 'typescript';

import { ROOT, Grid, until } from '../grid/grid.mjs';

/** @type {Grid} */
let grid;
/** @type {[string, any][]} type and value of every answer that came */
const answers = [];

before(async () => {
  grid = await Grid.start();
});
after(async () => assert.deepEqual(await grid?.stop(), []));

/** @param {string} type of the package @param {any} value */
function keep(type, value) {
  answers.push([type, value]);
  return value;
}

/** @param {string} route @param {any} body */
async function events(route, body) {
  const response = await fetch(grid.url + route, {
    method: 'POST', headers: { authorization: `Bearer ${grid.key}` }, body: JSON.stringify({ ...body, stream: true }),
  });
  return (await response.text()).split('\n').filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6)));
}

/** @param {string} text */
async function upload(text) {
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new Blob([text]), 'in.jsonl');
  const response = await fetch(`${grid.url}/v1/files`, { method: 'POST', body: form, headers: { authorization: `Bearer ${grid.key}` } });
  return keep('FileObject', await response.json());
}

/** A value that breaks a type makes an error; what the type does not know is let be.
 * @param {[string, any][]} values @returns {string[]} */
function mistakes(values) {
  const name = path.join(ROOT, 'tests/api/answers.ts');
  const text = `import type OpenAI from 'openai';\ndeclare function is<T>(): <V extends T>(value: V) => void;\n${
    values.map(([type, value]) => `is<OpenAI.${type}>()(${JSON.stringify(value)});`).join('\n')}\n`;
  /** @type {import('typescript').CompilerOptions} */
  const options = {
    strict: true, strictNullChecks: false, noEmit: true, skipLibCheck: true, types: [],
    target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (file) => file === name || fileExists.call(host, file);
  host.getSourceFile = (file, how, ...more) =>
    (file === name ? ts.createSourceFile(file, text, how) : getSourceFile.call(host, file, how, ...more));
  return ts.getPreEmitDiagnostics(ts.createProgram([name], options, host))
    .map((one) => `${ts.flattenDiagnosticMessageText(one.messageText, '\n')} in ${one.file?.text.split('\n')[
      one.file.getLineAndCharacterOfPosition(one.start ?? 0).line].slice(0, 400)}`);
}

test('each status of a batch, its files and its callbacks', async () => {
  /** @type {any[]} */
  const told = [];
  const receiver = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    told.push(JSON.parse(body));
    response.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const callback_url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (receiver.address()).port}/`;
  const statuses = new Set();
  /** @param {string} id */
  const look = async (id) => {
    const batch = await grid.ask(`/v1/batches/${id}`);
    if (!statuses.has(batch.status)) keep('Batch', batch);
    statuses.add(batch.status);
    return batch.status;
  };
  /** @param {string} id @param {string} status */
  const reach = (id, status) => until(async () => (await look(id)) === status, `status ${status}`, 60_000);
  /** @param {any} file @param {any} [more] */
  const start = async (file, more) => keep('Batch', await grid.ask('/v1/batches',
    { input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h', callback_url, ...more }));
  /** @param {number} n @param {number} max_tokens */
  const lines = (n, max_tokens) => Array.from({ length: n }, (_, i) => JSON.stringify({
    custom_id: `l${i}`, method: 'POST', url: '/v1/completions', body: { prompt: 'Once', max_tokens, ignore_eos: true } })).join('\n');

  await reach((await start(await upload('no JSON'))).id, 'failed');
  const long = await upload(lines(3000, 200));
  for (const status of ['cancelled', 'expired']) {
    const { id } = await start(long, { metadata: { a: 'b' } });
    await reach(id, 'in_progress');
    if (status === 'cancelled') keep('Batch', await grid.ask(`/v1/batches/${id}/cancel`, {}));
    else execFileSync('redis-cli', ['-s', path.join(grid.data, 'redis.sock'), 'ZADD', 'syn:{0}:expiring', '1', id]);
    await reach(id, status);
  }
  grid.volunteer('Ada');
  const short = await start(await upload(`${lines(3, 4)}\n${JSON.stringify({ custom_id: 'bad', method: 'POST', url: '/v1/completions', body: {} })}`));
  await reach(short.id, 'completed');
  assert.deepEqual(['failed', 'cancelled', 'expired', 'in_progress', 'completed'].filter((one) => !statuses.has(one)), []);
  const done = await grid.ask(`/v1/batches/${short.id}`);
  for (const id of [done.output_file_id, done.error_file_id]) keep('FileObject', await grid.ask(`/v1/files/${id}`));
  for (const line of await grid.results(short.id)) {
    assert.deepEqual(Object.keys(line), ['id', 'custom_id', 'response', 'error']);
    if (!line.response) continue;
    assert.deepEqual(Object.keys(line.response), ['status_code', 'request_id', 'body']);
    keep('Completion', line.response.body);
  }
  await until(() => told.length === 4, 'callbacks', 30_000);
  for (const event of told) keep('Webhooks.UnwrapWebhookEvent', event);
  receiver.closeAllConnections();
  receiver.close();
});

test('completions, chats, models and lists', async () => {
  const messages = [{ role: 'user', content: 'Once upon a time' }];
  const text = { prompt: 'Once upon a time', max_tokens: 4, n: 2, logprobs: 1 };
  const chat = { messages, max_tokens: 4, n: 2, logprobs: true, top_logprobs: 1 };
  keep('Completion', await grid.ask('/v1/completions', text));
  keep('ChatCompletion', await grid.ask('/v1/chat/completions', chat));
  const some = { stream_options: { include_usage: true } };
  for (const event of await events('/v1/completions', { ...text, ...some })) keep('Completion', event);
  for (const event of await events('/v1/chat/completions', { ...chat, ...some })) keep('ChatCompletionChunk', event);
  for (const model of (await grid.ask('/v1/models')).data) keep('Model', model);
  for (const file of (await grid.ask('/v1/files')).data) keep('FileObject', file);
  for (const batch of (await grid.ask('/v1/batches')).data) keep('Batch', batch);
});

test('all that came is of the types of the package', () => {
  assert.ok(answers.length > 40);
  assert.deepEqual(mistakes(answers), []);
});

test('what is not of its type would be seen', () => {
  const [, batch] = answers.find(([type]) => type === 'Batch') ?? assert.fail('no batch');
  /** @type {[string, any][]} */
  const wrong = [
    ['Batch', { ...batch, id: 'a', status: 'done' }], ['Batch', { ...batch, id: 'b', created_at: 'now' }],
    ['Batch', { ...batch, id: 'c', usage: { total_tokens: 1 } }], ['Batch', { ...batch, id: undefined }],
    ['ChatCompletion', batch], ['FileObject', { ...batch, object: 'file' }],
  ];
  const seen = mistakes(wrong);
  for (const [type, value] of wrong) {
    const line = `is<OpenAI.${type}>()(${JSON.stringify(value)});`.slice(0, 400);
    assert.ok(seen.some((one) => one.endsWith(line)), line);
  }
});
