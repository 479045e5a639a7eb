// test_openapi.mjs - api/openapi.yaml and the server say the same: every route
// is in it, and every answer has the status and the fields that it names.
// @ts-check

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import SwaggerParser from '@apidevtools/swagger-parser';
import { Ajv2020 } from 'ajv/dist/2020.js';

import { ROOT, Grid, synapseOk, until } from '../grid/grid.mjs';
import { RawVolunteer } from '../grid/raw_volunteer.mjs';

const FILE = path.join(ROOT, 'api/openapi.yaml');

/** @type {any} */
let spec;
const ajv = new Ajv2020({ strict: false, allErrors: true });
/** @type {Grid} */
let grid;
/** @type {Set<string>} "GET /v1/files 200": what was answered and is right */
const seen = new Set();

before(async () => {
  spec = await SwaggerParser.parse(FILE);
  ajv.addSchema(spec, 'api');
  grid = await Grid.start({ args: ['--trust-proxy', '127.0.0.0/8', '--new-accounts', '0', '--new-bits', '1'] });
});
after(async () => assert.deepEqual(await grid?.stop(), []));

/** @param {string[]} parts */
const pointer = (...parts) => parts.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).join('/');

/** Does a value fit the schema there? @param {string} at @param {any} value @param {string} what */
function fits(at, value, what) {
  const check = ajv.getSchema(`api#/${at}`) ?? assert.fail(`no schema ${at}`);
  assert.ok(check(value), `${what}: ${ajv.errorsText(check.errors)} in ${JSON.stringify(value).slice(0, 500)}`);
}

/** Ask, and hold the answer to the specification.
 * @param {string} method @param {string} route as in the specification
 * @param {{args?: Record<string, string>, query?: string, body?: any, headers?: Record<string, string>, key?: string | null, status: number}} how */
async function ask(method, route, how) {
  const url = grid.url + route.replace(/\{(\w+)\}/g, (_, name) => how.args?.[name] ?? assert.fail(name)) + (how.query ?? '');
  const isRaw = how.body instanceof FormData || how.body instanceof Uint8Array || typeof how.body === 'string';
  const key = how.key === undefined ? grid.key : how.key;
  const leave = new AbortController();
  const response = await fetch(url, {
    method,
    headers: { ...(key ? { authorization: `Bearer ${key}` } : {}), ...(how.body && !isRaw ? { 'content-type': 'application/json' } : {}), ...how.headers },
    body: how.body === undefined ? undefined : isRaw ? how.body : JSON.stringify(how.body),
    signal: AbortSignal.any([leave.signal, AbortSignal.timeout(60_000)]),
  });
  const what = `${method} ${route} ${response.status}`;
  const operation = spec.paths[route]?.[method.toLowerCase()] ?? assert.fail(`${method} ${route} is not specified`);
  if (route.endsWith('/presence') && response.ok) leave.abort(); // it does not end
  const text = leave.signal.aborted ? '' : await response.text();
  assert.equal(response.status, how.status, `${what}: ${text.slice(0, 300)}`);
  let at = pointer('paths', route, method.toLowerCase(), 'responses', String(how.status));
  let answer = operation.responses[how.status] ?? assert.fail(`${what} is not specified`);
  if (answer.$ref) {
    at = answer.$ref.slice(2);
    answer = spec.components.responses[at.split('/').at(-1) ?? ''];
  }
  const type = (response.headers.get('content-type') ?? '').split(';')[0];
  seen.add(what);
  if (!answer.content) {
    assert.equal(text, '', what);
    return null;
  }
  assert.ok(answer.content[type], `${what} has the type ${type}`);
  at = `${at}/${pointer('content', type, 'schema')}`;
  const values = type === 'application/json' ? [JSON.parse(text)]
    : type === 'application/jsonl' && route.endsWith('results') ? text.split('\n').filter(Boolean).map((line) => JSON.parse(line))
    : type === 'text/event-stream' && text.includes('[DONE]') ? text.split('\n').filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6)))
    : [];
  for (const value of values) fits(at, value, what);
  return values.length === 1 ? values[0] : values;
}

test('it is a valid specification, and the server gives it out', async () => {
  const parsed = /** @type {any} */ (await SwaggerParser.validate(FILE));
  assert.equal(parsed.openapi, '3.1.0');
  await ask('GET', '/openapi.yaml', { key: null, status: 200 });
  assert.equal(await (await fetch(`${grid.url}/openapi.yaml`)).text(), readFileSync(FILE, 'utf8'));
});

test('every route of the server is in it, and no other', () => {
  const source = readFileSync(path.join(ROOT, 'api/routes.c'), 'utf8');
  const served = [...source.matchAll(/\{"(GET|POST|DELETE)",\s+(V )?"?([^",\s]*)"?,/g)]
    .map(([, method, prefix, pattern]) => `${method} ${prefix || pattern === 'V' ? '/v1/volunteers' : ''}${pattern === 'V' ? '' : pattern}`)
    .filter((route) => !route.endsWith(' '));
  const specified = Object.entries(spec.paths).flatMap(([route, item]) => Object.keys(item)
    .filter((name) => ['get', 'post', 'delete', 'put', 'patch'].includes(name))
    .map((name) => `${name.toUpperCase()} ${route.replace(/\{\w+\}/g, '{}')}`));
  assert.ok(served.length > 25);
  assert.deepEqual(specified.filter((route) => route !== 'GET /openapi.yaml').sort(), served.sort());
});

/** A form with a file. @param {string} purpose @param {string} text */
function upload(purpose, text) {
  const form = new FormData();
  form.set('purpose', purpose);
  form.set('file', new Blob([text]), 'in.jsonl');
  return form;
}

test('files', async () => {
  const line = JSON.stringify({ custom_id: 'a', method: 'POST', url: '/v1/completions', body: { prompt: 'x' } });
  const file = await ask('POST', '/v1/files', { body: upload('batch', line), status: 200 });
  await ask('POST', '/v1/files', { body: upload('other', line), status: 400 });
  await ask('POST', '/v1/files', { body: upload('batch', line), key: 'sk-syn-no', status: 401 });
  await ask('GET', '/v1/files', { query: '?limit=1', status: 200 });
  await ask('GET', '/v1/files', { query: '?limit=0', status: 400 });
  const args = { file_id: file.id }, none = { file_id: 'file-none' };
  await ask('GET', '/v1/files', { key: null, status: 401 });
  for (const [method, route] of [['GET', '/v1/files/{file_id}/content'], ['GET', '/v1/files/{file_id}'], ['DELETE', '/v1/files/{file_id}']]) {
    await ask(method, route, { args: none, status: 404 });
    await ask(method, route, { args, key: null, status: 401 });
    await ask(method, route, { args, status: 200 });
  }
});

test('batches, their results and callbacks', async () => {
  /** @type {any[]} */
  const got = [];
  const receiver = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    got.push(JSON.parse(body));
    response.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const callback_url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (receiver.address()).port}/`;
  grid.volunteer('Ada');
  const batch = await ask('POST', '/v1/batches', {
    status: 200,
    body: {
      callback_url, callback_events: ['batch.completed', 'request.completed'], metadata: { a: 'b' },
      requests: [
        { custom_id: 'good', prompt: 'Once upon a time', max_tokens: 3, logprobs: 2 }, { custom_id: 'bad', prompt: 7 },
        { custom_id: 'plain', prompt: 'The', max_tokens: 2, temperature: 0, n: 2 },
      ],
    },
  });
  const args = { batch_id: batch.id }, none = { batch_id: 'batch_none' };
  await grid.finished(batch.id);
  await until(() => got.length === 4, 'callbacks', 20_000);
  for (const event of got) fits(pointer('webhooks', 'callback', 'post', 'requestBody', 'content', 'application/json', 'schema'), event, 'callback');
  const chat = await ask('POST', '/v1/batches', {
    status: 200,
    body: { endpoint: '/v1/chat/completions', receipts: true, requests: [{ messages: [{ role: 'user', content: 'Hi' }], max_tokens: 2, logprobs: true, top_logprobs: 1, n: 2 }] },
  });
  await grid.finished(chat.id);
  for (const { id } of [batch, chat]) {
    const lines = await ask('GET', '/v1/batches/{batch_id}/results', { args: { batch_id: id }, status: 200 });
    assert.ok(lines.length !== 0);
  }
  await ask('GET', '/v1/batches', { status: 200 });
  await ask('GET', '/v1/batches', { query: '?after=x', status: 400 });
  await ask('GET', '/v1/batches/{batch_id}/results', { args, query: '?limit=x', status: 400 });
  await ask('GET', '/v1/batches/{batch_id}/callbacks', { args, query: '?limit=x', status: 400 });
  await ask('POST', '/v1/batches', { body: { colour: 1 }, status: 400 });
  await ask('POST', '/v1/batches/{batch_id}/callbacks/redeliver', { args, body: {}, status: 202 });
  await ask('POST', '/v1/batches/{batch_id}/callbacks/redeliver', { args, body: [], status: 400 });
  await ask('POST', '/v1/batches/{batch_id}/callbacks/secret', { args, body: {}, status: 200 });
  await ask('POST', '/v1/batches/{batch_id}/callbacks/secret', { args, body: { callback_secret: 1 }, status: 400 });
  await ask('POST', '/v1/batches/{batch_id}/cancel', { args, status: 409 });
  const open = await ask('POST', '/v1/batches', { body: { requests: [{ prompt: 'x', max_tokens: 500 }] }, status: 200 });
  await ask('POST', '/v1/batches/{batch_id}/cancel', { args: { batch_id: open.id }, status: 200 });
  await ask('POST', '/v1/batches', { body: { requests: [{}] }, key: null, status: 401 });
  await ask('GET', '/v1/batches', { key: null, status: 401 });
  for (const [method, leaf, ok] of /** @type {[string, string, number | null][]} */ ([
    ['GET', '', 200], ['POST', '/cancel', null], ['GET', '/results', null], ['GET', '/callbacks', 200],
    ['POST', '/callbacks/redeliver', null], ['POST', '/callbacks/secret', null],
  ])) {
    if (ok) await ask(method, `/v1/batches/{batch_id}${leaf}`, { args, status: ok });
    await ask(method, `/v1/batches/{batch_id}${leaf}`, { args: none, status: 404 });
    await ask(method, `/v1/batches/{batch_id}${leaf}`, { args, key: null, status: 401 });
  }
  receiver.closeAllConnections();
  receiver.close();
});

test('completions and chats', async () => {
  const messages = [{ role: 'user', content: 'Once upon a time' }];
  for (const [route, body] of /** @type {[string, any][]} */ ([
    ['/v1/completions', { prompt: 'Once upon a time', logprobs: 1 }], ['/v1/chat/completions', { messages, logprobs: true, top_logprobs: 2 }],
  ])) {
    await ask('POST', route, { body: { ...body, max_tokens: 4, n: 2, temperature: 0.5 }, status: 200 });
    const events = await ask('POST', route, { body: { ...body, max_tokens: 4, stream: true, stream_options: { include_usage: true } }, status: 200 });
    assert.ok(events.length > 1);
    await ask('POST', route, { body: { ...body, n: 0 }, status: 400 });
    await ask('POST', route, { body: { ...body, model: 'gpt-none' }, status: 404 });
    await ask('POST', route, { body, key: null, status: 401 });
  }
});

test('volunteers', async () => {
  const raw = await RawVolunteer.join(grid.url, 'Raw');
  const account = randomBytes(32).toString('hex');
  const joiner = { account, name: 'x', backend: 'wasm-simd', kernel_class: 'exact', memory: 1e9, threads: 1 };
  const joined = await ask('POST', '/v1/volunteers', { key: null, body: joiner, status: 201 });
  await ask('POST', '/v1/volunteers', { key: null, body: { ...joiner, threads: 0 }, status: 400 });
  await ask('POST', '/v1/volunteers', { key: null, body: { ...joiner, referee: true }, status: 403 });
  await ask('POST', '/v1/volunteers', { key: null, body: { ...joiner, account: 'ab'.repeat(32) },
    headers: { 'x-forwarded-for': '203.0.113.5' }, status: 428 });
  const args = { volunteer_id: raw.id };
  const route = '/v1/volunteers/{volunteer_id}/';
  await ask('POST', `${route}work`, { args, key: raw.token, body: raw.frame(2), status: 200 });
  await ask('POST', `${route}work`, { args, key: raw.token, body: raw.frame(1), status: 409 });
  await ask('POST', `${route}work`, { args, key: raw.token, body: new Uint8Array(9), status: 400 });
  await ask('POST', `${route}progress`, { args, key: raw.token, body: { units: [] }, status: 204 });
  await ask('POST', `${route}progress`, { args, key: raw.token, body: { units: [1] }, status: 400 });
  await ask('GET', `${route}presence`, { args: { volunteer_id: joined.id }, key: joined.token, status: 200 });
  for (const [method, leaf] of [['POST', 'work'], ['POST', 'progress'], ['POST', 'leave'], ['GET', 'presence']])
    await ask(method, route + leaf, { args, key: 'wrong', body: method === 'POST' ? (leaf === 'work' ? raw.frame(3) : { units: [] }) : undefined, status: 401 });
  await ask('POST', `${route}leave`, { args, key: raw.token, status: 204 });
  raw.presence.abort();
  await ask('GET', '/v1/accounts/{account}', { args: { account: joined.account_id }, key: null, status: 200 });
  await ask('GET', '/v1/accounts/{account}', { args: { account: 'ab'.repeat(32) }, key: null, status: 404 });
  await ask('GET', '/v1/accounts/{account}', { args: { account: 'x' }, key: null, status: 400 });
});

test('models, keys and figures', async () => {
  const { data: [model] } = await ask('GET', '/v1/models', { key: null, status: 200 });
  for (const name of [model.id, model.synapse.model_id])
    assert.deepEqual(await ask('GET', '/v1/models/{model}', { args: { model: name }, key: null, status: 200 }), model);
  await ask('GET', '/v1/models/{model}', { args: { model: 'none' }, key: null, status: 404 });
  const manifest = await ask('GET', '/v1/models/{model}/manifest.json', { args: { model: model.id }, key: null, status: 200 });
  const shard = { model: model.synapse.model_id, file: manifest.shards[0].file };
  await ask('GET', '/v1/models/{model}/manifest.json', { args: { model: 'none' }, key: null, status: 404 });
  await ask('GET', '/v1/models/{model}/shards/{file}', { args: shard, key: null, headers: { range: 'bytes=0-9' }, status: 206 });
  await ask('GET', '/v1/models/{model}/shards/{file}', { args: shard, key: null, status: 200 });
  await ask('GET', '/v1/models/{model}/shards/{file}', { args: { ...shard, file: 'none' }, key: null, status: 404 });
  const operator = (await synapseOk(['keys', 'create', '--data', grid.data, '--name', 'op', '--scopes', 'operate'])).out.trim().split('\n').at(-1);
  await ask('GET', '/v1/keys', { key: operator, status: 200 });
  await ask('GET', '/v1/keys', { key: null, status: 401 });
  await ask('GET', '/v1/keys', { status: 403 });
  await ask('GET', '/v1/overview', { key: operator, status: 200 });
  await ask('GET', '/v1/overview', { key: null, status: 401 });
  await ask('GET', '/v1/overview', { status: 403 });
  await ask('GET', '/v1/plan', { key: null, status: 200 });
  await ask('POST', '/v1/plan', { key: operator, body: { model: model.id, path: null }, status: 204 });
  await ask('POST', '/v1/plan', { key: operator, body: { model: 'none', path: null }, status: 400 });
  await ask('POST', '/v1/plan', { key: null, body: { model: model.id }, status: 401 });
  await ask('POST', '/v1/plan', { body: { model: model.id }, status: 403 });
  await ask('GET', '/v1/receipts/key', { key: null, status: 200 });
  await ask('GET', '/v1/leaderboard', { key: null, status: 200 });
  await ask('GET', '/v1/leaderboard', { key: null, query: '?limit=x', status: 400 });
  await ask('GET', '/v1/stats', { key: null, status: 200 });
  await ask('GET', '/metrics', { key: null, status: 200 });
  await ask('GET', '/healthz', { key: null, status: 200 });
});

test('a query that a route does not take', async () => {
  for (const [route, item] of Object.entries(spec.paths))
    for (const [name, operation] of Object.entries(item)) {
      if (!operation.responses?.['400'] || operation.tags.includes('volunteers') && !route.startsWith('/v1/models') && !route.startsWith('/v1/accounts')) continue;
      const args = { batch_id: 'x', file_id: 'x', model: 'x', file: 'x', account: 'x' };
      const error = await ask(name.toUpperCase(), route, { args, query: '?colour=red', body: name === 'post' ? {} : undefined, status: 400 });
      assert.equal(error.error.param, 'colour', route);
    }
});

test('nothing that it promises was left untried', () => {
  // Those that need a broken or overfull server have tests of their own.
  const elsewhere = ['403', '410', '413', '416', '429', '503', '304'];
  const promised = Object.entries(spec.paths).flatMap(([route, item]) => Object.entries(item)
    .filter(([, operation]) => operation.responses)
    .flatMap(([name, operation]) => Object.keys(operation.responses)
      .filter((status) => !elsewhere.includes(status)).map((status) => `${name.toUpperCase()} ${route} ${status}`)));
  assert.deepEqual(promised.filter((one) => !seen.has(one)), []);
});
