// What synapsed answers: every route, good and bad input, files and ranges,
// slow and vanished clients. A real synapsed with a real Redis.
// @ts-check

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Grid, sleep, until } from '../grid/grid.mjs';

/** @type {Grid} */
let grid;

before(async () => {
  grid = await Grid.start({ args: ['--no-referee', '--max-body', '200000', '--grace-ms', '200', '--read-ms', '1500'] });
});

after(async () => {
  assert.deepEqual(await grid.stop(), []);
});

const account = 'ab'.repeat(32);
const joiner = { account, name: 'Tëst', backend: 'wasm-simd', kernel_class: 'exact', memory: 1e9, threads: 1 };

/** @param {string} route @param {RequestInit} [init] */
async function call(route, init = {}) {
  const response = await fetch(grid.url + route, { signal: AbortSignal.timeout(20_000), ...init });
  const bytes = new Uint8Array(await response.arrayBuffer());
  const type = response.headers.get('content-type') ?? '';
  const text = new TextDecoder().decode(bytes);
  return { status: response.status, headers: response.headers, bytes, text, json: type.includes('json') && !type.includes('jsonl') ? JSON.parse(text) : null };
}

/** @param {string} route @param {any} body @param {Record<string, string>} [headers] */
function post(route, body, headers = {}) {
  return call(route, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? /** @type {BodyInit} */ (body) : JSON.stringify(body),
  });
}

/** @param {any} body */
const batch = (body) => post('/v1/batches', body, { authorization: `Bearer ${grid.key}` });

/** @param {Awaited<ReturnType<typeof call>>} answer @param {number} status @param {string} type @param {string | null} param */
function refused(answer, status, type, param) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.json.error.type, type);
  assert.equal(answer.json.error.param, param);
  assert.ok(answer.json.error.message.length > 5);
}

/** How many descriptors the server holds. */
const openFiles = () => readdirSync(`/proc/${grid.server?.pid}/fd`).length;

/** A raw connection, for what fetch would not send. @param {string} text */
function raw(text) {
  const socket = connect(grid.port, '127.0.0.1');
  let got = '';
  socket.on('data', (data) => (got += data));
  socket.on('error', () => {});
  socket.write(text);
  return { socket, got: () => got };
}

test('the grid is healthy and says what it does', async () => {
  const health = await until(async () => {
    const answer = await call('/healthz');
    return answer.status === 200 ? answer : null;
  }, 'health');
  assert.equal(health.json.status, 'ok');
  assert.equal(health.headers.get('x-content-type-options'), 'nosniff');
  const stats = await call('/v1/stats');
  assert.equal(stats.json.models[0].name, 'tales-gpt2');
  const ranks = await call('/v1/leaderboard?offset=0&limit=10');
  assert.deepEqual(ranks.json.data, []);
  assert.match((await call('/metrics')).text, /^synapse_store_up 1$/m);
});

test('an account is told to whoever knows its id, with what is pending', async () => {
  refused(await call('/v1/accounts/xyz'), 400, 'invalid_request_error', 'account');
  refused(await call(`/v1/accounts/${'0'.repeat(64)}`), 404, 'not_found_error', 'account');
  const { account_id, id, token } = (await post('/v1/volunteers', joiner)).json;
  const { json } = await call(`/v1/accounts/${account_id}`);
  assert.equal(json.account, account_id);
  assert.equal(json.name, joiner.name);
  assert.equal(json.online, 1);
  assert.equal(json.reliability, null);
  assert.equal(json.banned, false);
  assert.deepEqual(json.pending.map((/** @type {any} */ p) => [p.reason, p.lines, p.credit]),
    [['check', 0, 0], ['later_checks', 0, 0]]);
  assert.equal((await post(`/v1/volunteers/${id}/leave`, {}, { authorization: `Bearer ${token}` })).status < 300, true);
});

test('pages are isolated, and nothing outside their folder is served', async () => {
  for (const page of ['/', '/contribute', '/leaderboard', '/operator']) {
    const answer = await call(page);
    assert.equal(answer.status, 200, page);
    assert.match(answer.headers.get('content-type') ?? '', /^text\/html/);
    assert.match(answer.headers.get('content-security-policy') ?? '', /script-src 'self' 'wasm-unsafe-eval'/);
    assert.equal(answer.headers.get('cross-origin-opener-policy'), 'same-origin');
    assert.equal(answer.headers.get('cross-origin-embedder-policy'), 'require-corp');
    const again = await call(page, { headers: { 'if-none-match': answer.headers.get('etag') ?? '' } });
    assert.equal(again.status, 304);
  }
  for (const wrong of ['/nothing', '/assets', '/assets/', '/.hidden', '/assets/..%2f..%2fbin%2fsynapsed', '/%2e%2e/bin/synapsed', '/a//b', '/assets/%00', '/contribute.html/'])
    assert.equal((await call(wrong)).status, 404, wrong);
  const climbing = raw('GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await until(() => climbing.got().includes('\r\n\r\n'), 'answer', 5000);
  assert.match(climbing.got(), /^HTTP\/1.1 404/);
  climbing.socket.destroy();
});

test('shards come whole, in ranges, and by their hash for good', async () => {
  const list = await call('/v1/models');
  const id = list.json.data[0].synapse.model_id;
  const manifest = await call(`/v1/models/${id}/manifest.json`);
  assert.equal(createHash('sha256').update(manifest.bytes).digest('hex'), id);
  assert.match(manifest.headers.get('cache-control') ?? '', /immutable/);
  assert.doesNotMatch((await call('/v1/models/tales-gpt2/manifest.json')).headers.get('cache-control') ?? '', /immutable/);
  const shard = manifest.json.shards[0];
  const route = `/v1/models/${id}/shards/${shard.file}`;
  const whole = await call(route);
  assert.equal(whole.bytes.length, shard.bytes);
  assert.equal(createHash('sha256').update(whole.bytes).digest('hex'), shard.sha256);
  assert.equal(whole.headers.get('etag'), `"${shard.sha256}"`);
  assert.match(whole.headers.get('cache-control') ?? '', /max-age=31536000, immutable/);
  const part = await call(route, { headers: { range: 'bytes=100-299' } });
  assert.equal(part.status, 206);
  assert.equal(part.headers.get('content-range'), `bytes 100-299/${shard.bytes}`);
  assert.deepEqual(part.bytes, whole.bytes.slice(100, 300));
  const tail = await call(route, { headers: { range: 'bytes=-7' } });
  assert.deepEqual(tail.bytes, whole.bytes.slice(-7));
  assert.equal((await call(route, { headers: { range: `bytes=${shard.bytes}-` } })).status, 416);
  assert.equal((await call(route, { headers: { range: 'bytes=0-5', 'if-range': '"other"' } })).status, 200);
  const head = await call(route, { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), String(shard.bytes));
  assert.equal(head.bytes.length, 0);
  refused(await call(`/v1/models/${id}/shards/other`), 404, 'not_found_error', 'file');
  refused(await call('/v1/models/other/manifest.json'), 404, 'not_found_error', 'model');
});

test('a wrong method or path is named', async () => {
  assert.equal((await call('/v1/stats', { method: 'DELETE' })).status, 405);
  assert.equal((await call('/v1/batches/x/y/z')).status, 404);
  assert.equal((await post('/v1/nothing', {})).status, 404);
});

test('joining checks every field', async () => {
  /** @type {[any, string][]} */
  const cases = [
    [{ account: undefined }, 'account'], [{ account: 'xy' }, 'account'], [{ account: 5 }, 'account'],
    [{ name: 'x'.repeat(41) }, 'name'], [{ name: 'a\nb' }, 'name'], [{ name: 7 }, 'name'],
    [{ backend: '' }, 'backend'], [{ backend: 'A B' }, 'backend'], [{ backend: undefined }, 'backend'],
    [{ kernel_class: 'f64' }, 'kernel_class'], [{ memory: -1 }, 'memory'], [{ memory: 'x' }, 'memory'],
    [{ threads: 0 }, 'threads'], [{ threads: 1.5 }, 'threads'],
  ];
  for (const [change, param] of cases)
    refused(await post('/v1/volunteers', { ...joiner, ...change }), 400, 'invalid_request_error', param);
  refused(await post('/v1/volunteers', { ...joiner, referee: true }), 403, 'permission_error', 'referee');
  refused(await post('/v1/volunteers', { ...joiner, referee: true }, { 'x-synapse-operator': 'guess' }), 403, 'permission_error', 'referee');
  refused(await post('/v1/volunteers', '{"account":'), 400, 'invalid_request_error', null);
  refused(await post('/v1/volunteers', '[]'), 400, 'invalid_request_error', '');
  refused(await post('/v1/volunteers', '{"account":"a","account":"b"}'), 400, 'invalid_request_error', null);
  const joined = await post('/v1/volunteers', joiner);
  assert.equal(joined.status, 201, joined.text);
  assert.equal(joined.json.name, 'Tëst');
  assert.equal(joined.json.account_id, createHash('sha256').update(Buffer.from(account, 'hex')).digest('hex'));
  assert.equal(joined.json.models[0].shards[0].sha256.length, 64);
});

test('a volunteer needs its own token', async () => {
  const { id, token } = (await post('/v1/volunteers', joiner)).json;
  const other = (await post('/v1/volunteers', joiner)).json;
  const body = { units: [], tokens: 0 };
  for (const [who, what] of [[id, ''], [id, 'x'], [id, other.token], ['vol_none', token], ['UPPER', token], ['x'.repeat(80), token]]) {
    /** @type {Record<string, string>} */
    const headers = what ? { authorization: `Bearer ${what}` } : {};
    for (const verb of ['progress', 'leave', 'work'])
      refused(await post(`/v1/volunteers/${who}/${verb}`, verb === 'work' ? emptyCall(1) : body, headers), 401, 'authentication_error', null);
    assert.equal((await call(`/v1/volunteers/${who}/presence`, { headers })).status, 401);
  }
  const headers = { authorization: `Bearer ${token}` };
  assert.equal((await post(`/v1/volunteers/${id}/progress`, body, headers)).status, 204);
  refused(await post(`/v1/volunteers/${id}/progress`, { units: ['zz'] }, headers), 400, 'invalid_request_error', 'units');
  refused(await post(`/v1/volunteers/${id}/progress`, { units: 'zz' }, headers), 400, 'invalid_request_error', 'units');
  refused(await post(`/v1/volunteers/${id}/progress`, { ...body, tokens: -1 }, headers), 400, 'invalid_request_error', 'tokens');
  assert.equal((await post(`/v1/volunteers/${id}/leave`, {}, headers)).status, 204);
  refused(await post(`/v1/volunteers/${id}/progress`, body, headers), 401, 'authentication_error', null);
  await post(`/v1/volunteers/${other.id}/leave`, {}, { authorization: `Bearer ${other.token}` });
});

const table = Array.from({ length: 256 }, (_, i) => {
  for (let k = 0; k < 8; k++) i = i & 1 ? (i >>> 1) ^ 0x82f63b78 : i >>> 1;
  return i >>> 0;
});

/** @param {Uint8Array} bytes */
function crc32c(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** A CALL frame without a result, of a volunteer that has the model.
 * @param {number} number @param {number} [waitMs] @param {string} [model] its id */
function emptyCall(number, waitMs = 0, model = '') {
  const end = 76 + 32 + (model ? 20 : 0);
  const frame = Buffer.alloc(end + 4);
  frame.write('SYN1');
  frame[4] = 1;
  frame[5] = 3;
  frame.writeBigUInt64LE(BigInt(number), 64);
  frame.writeUInt32LE(end - 76, 72);
  if (model) {
    frame.writeUInt16LE(1, 76 + 2);
    frame.write(model.slice(0, 32), 108, 'hex');
    frame.writeUInt16LE(1, 126);
  }
  frame.writeUInt32LE(4, 76 + 4);
  frame.writeBigUInt64LE(1000000000n, 76 + 8);
  frame.writeUInt32LE(waitMs, 76 + 24);
  frame.writeUInt32LE(crc32c(frame.subarray(0, end)), end);
  return new Uint8Array(frame);
}

test('work calls take whole frames only, and old numbers are refused', async () => {
  const { id, token } = (await post('/v1/volunteers', joiner)).json;
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' };
  const work = (/** @type {Uint8Array} */ frame) => post(`/v1/volunteers/${id}/work`, frame, headers);
  const frame = emptyCall(1);
  for (const cut of [0, 1, 4, 75, 76, 107, 111]) refused(await work(frame.slice(0, cut)), 400, 'invalid_request_error', 'frame');
  for (const at of [0, 4, 5, 6, 28, 64, 76, 108]) {
    const forged = frame.slice();
    forged[at] ^= 0x40;
    refused(await work(forged), 400, 'invalid_request_error', 'frame');
  }
  refused(await work(new Uint8Array([...frame, 0])), 400, 'invalid_request_error', 'frame');
  refused(await work(emptyCall(0)), 400, 'invalid_request_error', 'frame');
  const first = await work(emptyCall(5));
  assert.equal(first.status, 200);
  assert.equal(first.headers.get('content-type'), 'application/octet-stream');
  assert.equal(new TextDecoder().decode(first.bytes.slice(0, 4)), 'SYN1');
  assert.equal(first.bytes[5], 4);
  assert.equal((await work(emptyCall(4))).status, 409);
  await post(`/v1/volunteers/${id}/leave`, {}, headers);
});

test('clients that leave while held are noticed, and nothing leaks', async () => {
  const { id, token } = (await post('/v1/volunteers', joiner)).json;
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' };
  const model = (await call('/v1/models')).json.data[0].synapse.model_id;
  await call('/healthz');
  const opened = openFiles();
  for (let i = 1; i <= 20; i++) {
    const controller = new AbortController();
    const held = fetch(`${grid.url}/v1/volunteers/${id}/work`, { method: 'POST', headers, body: emptyCall(i, 20000, model), signal: controller.signal });
    await sleep(20);
    controller.abort();
    await assert.rejects(held);
  }
  // A stray byte before leaving hides nothing.
  const text = `POST /v1/volunteers/${id}/work HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Length: 132\r\n\r\n`;
  for (let i = 21; i <= 25; i++) {
    const { socket } = raw(text);
    socket.write(emptyCall(i, 20000, model));
    socket.write('x');
    await sleep(20);
    socket.destroy();
  }
  await until(() => openFiles() <= opened + 1, `return to ${opened} descriptors from ${openFiles()}`, 10_000);
  assert.equal((await call('/healthz')).status, 200);
});

test('presence is a stream whose end means gone', async () => {
  const { id, token } = (await post('/v1/volunteers', joiner)).json;
  const headers = { authorization: `Bearer ${token}` };
  const controller = new AbortController();
  const stream = await fetch(`${grid.url}/v1/volunteers/${id}/presence`, { headers, signal: controller.signal });
  assert.equal(stream.headers.get('content-type'), 'text/event-stream');
  const reader = stream.body?.getReader();
  const { value } = (await reader?.read()) ?? {};
  assert.equal(new TextDecoder().decode(value), ': beat\n\n');
  assert.equal((await post(`/v1/volunteers/${id}/progress`, { units: [] }, headers)).status, 204);
  controller.abort();
  await until(async () => (await post(`/v1/volunteers/${id}/progress`, { units: [] }, headers)).status === 401, 'loss of the volunteer', 10_000);
});

test('clients need a valid key', async () => {
  for (const key of ['', 'sk-syn-wrong', 'other', `${grid.key}x`]) {
    /** @type {Record<string, string>} */
    const headers = key ? { authorization: `Bearer ${key}` } : {};
    refused(await post('/v1/batches', { requests: [{ prompt: 'x' }] }, headers), 401, 'authentication_error', null);
    refused(await call('/v1/batches', { headers }), 401, 'authentication_error', null);
    refused(await call('/v1/batches/batch_x', { headers }), 401, 'authentication_error', null);
    refused(await call('/v1/batches/batch_x/results', { headers }), 401, 'authentication_error', null);
  }
  const headers = { authorization: `Bearer ${grid.key}` };
  refused(await call('/v1/batches/batch_x', { headers }), 404, 'not_found_error', 'batch_id');
  refused(await call('/v1/batches/batch_x/results', { headers }), 404, 'not_found_error', 'batch_id');
  refused(await call('/v1/batches?limit=0', { headers }), 400, 'invalid_request_error', 'limit');
  refused(await call('/v1/batches?after=batch_x', { headers }), 400, 'invalid_request_error', 'after');
  refused(await call('/v1/leaderboard?limit=101'), 400, 'invalid_request_error', 'limit');
});

test('a wrong batch is refused with the field that is wrong', async () => {
  const requests = [{ custom_id: 'a', prompt: 'x' }];
  /** @type {[any, string | null][]} */
  const cases = [
    [{ requests, redundancy: 0 }, 'redundancy'], [{ requests, redundancy: 4 }, 'redundancy'], [{ requests, redundancy: '2' }, 'redundancy'],
    [{ requests, receipts: 'yes' }, 'receipts'], [{ requests, receipts: 1 }, 'receipts'],
    [{}, 'input_file_id'], [{ requests: [] }, 'requests'], [{ requests: {} }, 'requests'], [{ requests: 'x' }, 'requests'],
    [{ requests, model: 'other' }, 'model'], [{ requests, model: 5 }, 'model'],
    [{ requests, callback_url: 'ftp://example.com' }, 'callback_url'], [{ requests, callback_url: 'nonsense' }, 'callback_url'],
    [{ requests, callback_url: 'http://a@example.com/' }, 'callback_url'],
    [{ requests, callback_url: 'http://example.com/', callback_secret: 'short' }, 'callback_secret'],
    [{ requests, callback_secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' }, 'callback_secret'],
    [{ requests, metadata: [] }, 'metadata'], [{ requests, metadata: { a: 1 } }, 'metadata'],
    [{ requests, endpoint: '/v1/embeddings' }, 'endpoint'], [{ requests, completion_window: '30m' }, 'completion_window'],
    [{ requests, colour: 'red' }, 'colour'],
    ['[]', null], ['{"requests":[{"prompt":"x"}', null], ['{"requests":[{"prompt":"x"},]}', null], ['{"requests":[1]} x', null], ['', null],
    ['{"requests":[{"prompt":"x"}],"requests":[]}', null],
    ['{"\\u0072equests":[{"prompt":"x"}]}', 'requests'],
    [{ requests, redundancy: 0 }, 'redundancy'], [{ requests, redundancy: 4 }, 'redundancy'], [{ requests, redundancy: 'x' }, 'redundancy'],
    [{ requests, exact: 'no' }, 'exact'], [{ requests, exact: 0 }, 'exact'], [{ requests, output_expires_after: {} }, 'output_expires_after'],
    [{ requests, receipts: 'yes' }, 'receipts'], [{ requests, completion_window: 24 }, 'completion_window'], [{ requests, endpoint: 1 }, 'endpoint'],
    [{ requests, completion_window: '8d' }, 'completion_window'], [{ requests, completion_window: '9'.repeat(7) + 'd' }, 'completion_window'],
    [{ requests, input_file_id: 'file-x' }, 'input_file_id'], [{ input_file_id: 5 }, 'input_file_id'], [{ input_file_id: 'x'.repeat(64), endpoint: '/v1/completions' }, 'input_file_id'],
    [{ requests, callback_url: 5 }, 'callback_url'], [{ requests, callback_url: `https://example.com/${'x'.repeat(2048)}` }, 'callback_url'],
    [{ requests, callback_url: 'https://example.com/', callback_secret: 5 }, 'callback_secret'],
    [{ requests, callback_url: 'https://example.com/', callback_events: 'all' }, 'callback_events'],
    [{ requests, metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])) }, 'metadata'],
    [{ requests, metadata: { ['k'.repeat(65)]: 'v' } }, 'metadata'], [{ requests, metadata: { k: 'v'.repeat(513) } }, 'metadata'],
  ];
  for (const [body, param] of cases) refused(await batch(body), 400, 'invalid_request_error', param);
  // A name that does not fit is cut, and the answer is still a 400.
  const long = await batch({ requests, ['\u00e9'.repeat(200)]: 1 });
  assert.equal(long.status, 400);
  assert.match(long.json.error.param, /^[\u00e9?]{60}/);
  const headers = { authorization: `Bearer ${grid.key}` };
  assert.deepEqual((await call('/v1/batches', { headers })).json.data, []);
});

test('a wrong query is refused with the parameter that is wrong', async () => {
  /** @type {[string, string, string][]} */
  const cases = [
    ['GET', '/v1/batches?colour=red', 'colour'], ['GET', '/v1/batches?limit=1&limit=2', 'limit'], ['GET', '/v1/batches?limit', 'limit'],
    ['GET', '/v1/batches?limit=', 'limit'], ['GET', '/v1/batches?limit=0', 'limit'], ['GET', '/v1/batches?limit=101', 'limit'],
    ['GET', '/v1/batches?limit=-1', 'limit'], ['GET', '/v1/batches?limit=1e1', 'limit'], ['GET', '/v1/batches?limit=%31%30x', 'limit'],
    ['GET', `/v1/batches?limit=${'9'.repeat(40)}`, 'limit'],
    ['GET', `/v1/batches?after=${'x'.repeat(500)}`, 'after'], ['GET', '/v1/batches?after=a&after=b', 'after'],
    ['GET', '/v1/batches?order=asc', 'order'], ['GET', '/v1/batches?%6cimit=0', 'limit'], ['GET', '/v1/batches?=5', ''],
    ['GET', '/v1/files?order=up', 'order'], ['GET', '/v1/files?order=', 'order'], ['GET', '/v1/files?limit=10001', 'limit'],
    ['GET', `/v1/files?purpose=${'p'.repeat(100)}`, 'purpose'], ['GET', '/v1/files?before=file-x', 'before'],
    ['GET', '/v1/files/file-x?purpose=batch', 'purpose'], ['DELETE', '/v1/files/file-x?force=1', 'force'],
    ['GET', '/v1/files/file-x/content?range=1', 'range'], ['POST', '/v1/files?purpose=batch', 'purpose'],
    ['GET', '/v1/batches/batch_x?fields=id', 'fields'], ['POST', '/v1/batches?model=x', 'model'],
    ['POST', '/v1/batches/batch_x/cancel?now=1', 'now'], ['GET', '/v1/batches/batch_x/results?after=-1', 'after'],
    ['GET', '/v1/batches/batch_x/results?after=4294967296', 'after'], ['GET', '/v1/batches/batch_x/results?limit=1001', 'limit'],
    ['GET', '/v1/batches/batch_x/results?from=1', 'from'], ['GET', '/v1/batches/batch_x/callbacks?limit=1001', 'limit'],
    ['GET', '/v1/batches/batch_x/callbacks?after=x', 'after'], ['POST', '/v1/batches/batch_x/callbacks/redeliver?event_id=x', 'event_id'],
    ['POST', '/v1/batches/batch_x/callbacks/secret?x', 'x'], ['POST', '/v1/completions?stream=true', 'stream'],
    ['POST', '/v1/chat/completions?model=x', 'model'], ['GET', '/v1/models?limit=1', 'limit'], ['GET', '/v1/models/tales-gpt2?x=1', 'x'],
    ['GET', '/v1/keys?limit=1', 'limit'], ['GET', '/v1/overview?x=1', 'x'], ['GET', '/v1/stats?x=1', 'x'], ['GET', '/v1/plan?x=1', 'x'],
    ['GET', '/v1/leaderboard?offset=x', 'offset'], ['GET', '/v1/leaderboard?page=2', 'page'],
  ];
  const headers = { authorization: `Bearer ${grid.key}` };
  for (const [method, route, param] of cases) {
    const answer = await call(route, { method, headers, body: method === 'POST' ? '{}' : undefined });
    assert.equal(answer.status, 400, `${method} ${route}: ${answer.text}`);
    refused(answer, 400, 'invalid_request_error', param);
  }
  // Those that are right, and those of machines, which may send what they like.
  for (const right of ['/v1/batches?limit=5', '/v1/files?limit=%35&order=asc&purpose=batch', '/v1/leaderboard?offset=0&limit=1', '/healthz?now=1', '/metrics?x', '/?utm=1'])
    assert.equal((await call(right, { headers })).status, 200, right);
});

test('a wrong form is refused with the field that is wrong', async () => {
  /** One part. @param {string} head @param {string} body */
  const part = (head, body) => Buffer.from(`--bound\r\nContent-Disposition: form-data; ${head}\r\n\r\n${body}\r\n`, 'latin1');
  const end = Buffer.from('--bound--\r\n');
  const purpose = part('name="purpose"', 'batch'), file = part('name="file"; filename="a"', '{}');
  /** @type {[Buffer[], string | null][]} */
  const cases = [
    [[file], 'purpose'], [[purpose], 'file'], [[part('name="purpose"', 'fine-tune'), file], 'purpose'],
    [[part('name="purpose"', 'b'.repeat(65)), file], 'purpose'], [[purpose, file, file], 'file'],
    [[purpose, part(`name="file"; filename="${'n'.repeat(256)}"`, '{}')], 'file'],
    [[purpose, part('name="file"; filename="a\xff"', '{}')], 'file'],
    [[purpose, part('name="file"; filename="a"', 'x\n'.repeat(50_001))], 'file'],
    [[purpose, part('name="colour"', 'red'), file], 'colour'], [[purpose, part('name="\xff\xfe"', 'red'), file], '??'],
    [[purpose, file, part('name="expires_after[anchor]"', 'now')], 'expires_after[anchor]'],
    [[purpose, file, part('name="expires_after[seconds]"', '3599')], 'expires_after[seconds]'],
    [[purpose, file, part('name="expires_after[seconds]"', '2592001')], 'expires_after[seconds]'],
    [[purpose, file, part('name="expires_after[seconds]"', '1e9')], 'expires_after[seconds]'],
    [[purpose, file, part('name="expires_after[seconds]"', '9'.repeat(65))], 'expires_after[seconds]'],
  ];
  const headers = { authorization: `Bearer ${grid.key}`, 'content-type': 'multipart/form-data; boundary=bound' };
  for (const [parts, param] of cases)
    refused(await post('/v1/files', new Uint8Array(Buffer.concat([...parts, end])), headers), 400, 'invalid_request_error', param);
  // Cut anywhere, it is refused, and nothing stays of it.
  const whole = Buffer.concat([purpose, file, end]);
  for (let cut = 0; cut < whole.length - end.length; cut += 7)
    assert.equal((await post('/v1/files', new Uint8Array(whole.subarray(0, cut)), headers)).status, 400, `cut at ${cut}`);
  assert.deepEqual((await call('/v1/files', { headers: { authorization: headers.authorization } })).json.data, []);
  for (const [query, param] of [['?limit=0', 'limit'], ['?limit=10001', 'limit'], ['?order=up', 'order'], ['?after=file-none', 'after']])
    refused(await call(`/v1/files${query}`, { headers: { authorization: headers.authorization } }), 400, 'invalid_request_error', param);
});

test('bodies over the limit get 413, and the connection survives a small excess', async () => {
  const body = { requests: [{ prompt: 'x'.repeat(200_001) }] };
  refused(await batch(body), 413, 'invalid_request_error', null);
  refused(await post('/v1/volunteers', { ...joiner, name: 'x'.repeat(70_000) }), 413, 'invalid_request_error', null);
  const chunked = await fetch(`${grid.url}/v1/volunteers`, {
    method: 'POST',
    body: new Blob(['x'.repeat(70_000)]).stream(),
    // @ts-ignore: fetch wants it for streams, and its types do not know it
    duplex: 'half',
  });
  assert.equal(chunked.status, 413);
  const waiting = raw(`POST /v1/volunteers HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000\r\nExpect: 100-continue\r\n\r\n`);
  await until(() => waiting.got(), 'answer', 5000);
  assert.match(waiting.got(), /^HTTP\/1.1 413/);
  waiting.socket.destroy();
});

test('one bad request of many becomes an error line that names its field', async () => {
  /** @type {[any, string | null, string][]} */
  const cases = [
    [{ prompt: 5 }, 'prompt', 'invalid_field'], [{}, 'prompt', 'invalid_field'], [{ prompt: '' }, 'prompt', 'invalid_field'],
    [{ prompt: 'word '.repeat(2000) }, 'prompt', 'invalid_field'],
    [{ prompt: 'x', max_tokens: 0 }, 'max_tokens', 'invalid_field'], [{ prompt: 'x', max_tokens: 'y' }, 'max_tokens', 'invalid_field'],
    [{ prompt: 'x', temperature: 3 }, 'temperature', 'invalid_field'], [{ prompt: 'x', top_p: 0 }, 'top_p', 'invalid_field'],
    [{ prompt: 'x', top_k: -1 }, 'top_k', 'invalid_field'], [{ prompt: 'x', seed: 1.5 }, 'seed', 'invalid_field'],
    [{ prompt: 'x', stop: '' }, 'stop', 'invalid_field'], [{ prompt: 'x', stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop', 'invalid_field'],
    [{ prompt: 'x', stop: [1] }, 'stop', 'invalid_field'], [{ prompt: 'x', model: 'other' }, 'model', 'model_not_found'],
    [{ prompt: 'x', n: 17 }, 'n', 'invalid_field'], [{ prompt: 'x', n: 0 }, 'n', 'invalid_field'], [{ prompt: 'x', stream: true }, 'stream', 'invalid_field'],
    [{ prompt: 'x', logit_bias: { 99999: 1 } }, 'logit_bias', 'invalid_field'], [{ prompt: 'x', colour: 1 }, 'colour', 'invalid_field'],
    [5, null, 'invalid_field'],
  ];
  const bad = cases.map(([request]) => (typeof request === 'object' ? { custom_id: 'bad', ...request } : request));
  const text = `{"requests":[${bad.map((request) => JSON.stringify(request)).join(',')},{"prompt":tru},{"prompt":"a\nb"},{"prompt":"x","prompt":"y"}],"metadata":{"k":"v"}}`;
  const made = await batch(text);
  assert.equal(made.status, 200, made.text);
  assert.equal(made.json.object, 'batch');
  assert.equal(made.json.request_counts.total, cases.length + 3);
  assert.deepEqual(made.json.metadata, { k: 'v' });
  assert.equal(made.json.callback, null);
  const done = await grid.finished(made.json.id, 20_000);
  assert.equal(done.status, 'completed');
  assert.equal(done.request_counts.failed, cases.length + 3);
  const lines = await grid.results(made.json.id);
  assert.equal(lines.length, cases.length + 3);
  const byId = new Map(lines.map((line) => [Number(line.id.split('_').at(-1)), line]));
  for (const [i, [, param, code]] of cases.entries()) {
    const line = byId.get(i);
    assert.equal(line.response, null);
    assert.equal(line.error.code, code);
    assert.equal(line.error.param, param ? `requests[${i}].${param}` : `requests[${i}]`);
    assert.equal(line.custom_id, typeof cases[i][0] === 'object' ? 'bad' : `request-${i + 1}`);
  }
  for (let i = cases.length; i < cases.length + 3; i++) assert.equal(byId.get(i).error.code, 'invalid_json');

  // Paging from the output file.
  const headers = { authorization: `Bearer ${grid.key}` };
  const page = await call(`/v1/batches/${made.json.id}/results?after=3&limit=4`, { headers });
  assert.equal(page.headers.get('x-synapse-next'), '7');
  assert.deepEqual(page.text.trim().split('\n').map((line) => JSON.parse(line)), lines.slice(3, 7));
  const end = await call(`/v1/batches/${made.json.id}/results?after=1000`, { headers });
  assert.equal(end.text, '');
  assert.equal(end.headers.get('x-synapse-next'), '1000');
});

test('a batch that arrives a byte at a time is whole', async () => {
  const body = JSON.stringify({ requests: [{ prompt: 7 }, { prompt: [1] }] });
  const { socket, got } = raw(`POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${grid.key}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`);
  for (const byte of body) {
    socket.write(byte);
    await sleep(1);
  }
  const [id] = await until(() => /batch_\w+/.exec(got()), 'answer');
  assert.match(got(), /^HTTP\/1.1 200/);
  assert.equal((await grid.finished(id)).request_counts.total, 2);
});

test('an upload that breaks off leaves nothing', async () => {
  const parts = () => readdirSync(path.join(grid.data, 'files')).filter((name) => name.endsWith('.part')).length;
  assert.equal(parts(), 0);
  const { socket } = raw(`POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${grid.key}\r\nContent-Length: 5000\r\n\r\n{"requests":[{"prompt":"x"},`);
  await until(() => parts() === 1, 'upload to begin');
  socket.destroy();
  await until(() => parts() === 0, 'its file to go');
});

test('hundreds of idle and garbage connections do no harm', async () => {
  await call('/healthz');
  const opened = openFiles();
  const sockets = Array.from({ length: 200 }, (_, i) => raw(i % 2 ? 'GET / HTTP/1.1\r\nHo' : '\0\r\n\r\n\xff\xfe').socket);
  await sleep(100);
  assert.equal((await call('/healthz')).status, 200);
  for (const socket of sockets) socket.destroy();
  await until(() => openFiles() <= opened + 1, `return to ${opened} descriptors`, 10_000);
});

test('clients that send too slowly are cut off, those that wait for us are not', async () => {
  const slow = raw('GET / HTTP/1.1\r\n');
  const body = raw('POST /v1/volunteers HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n');
  const { id, token } = (await post('/v1/volunteers', joiner)).json;
  const held = fetch(`${grid.url}/v1/volunteers/${id}/presence`, { headers: { authorization: `Bearer ${token}` } });
  let ended = 0;
  for (const { socket } of [slow, body]) socket.on('close', () => ended++);
  const begun = Date.now();
  while (ended < 2 && Date.now() - begun < 8000) {
    slow.socket.write('X: y\r\n');
    body.socket.write(' ');
    await sleep(200);
  }
  assert.equal(ended, 2);
  assert.ok(Date.now() - begun >= 1000);
  const stream = (await held).body?.getReader();
  await sleep(500);
  assert.equal((await stream?.read())?.done, false);
  await stream?.cancel();
});

test('no secret is in the log', async () => {
  const log = readFileSync(grid.serverLog, 'utf8');
  assert.ok(!log.includes(grid.key));
  assert.ok(!log.includes('prompt'));
});
