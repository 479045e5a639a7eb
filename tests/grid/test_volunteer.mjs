// test_volunteer.mjs - the native volunteer beside a server and a network that
// misbehave.
// @ts-check

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

import { parseHeader, resultInfo } from '../../volunteer/web/syn1.mjs';
import { KIND, unitFrame } from './frames.mjs';
import { Volunteer, models, until } from './grid.mjs';
import { ScriptedServer } from './scripted_server.mjs';

const NOT_CACHED = 2;
const UNIT_A = 'aa'.repeat(16), UNIT_B = 'bb'.repeat(16);

/** @type {string} */
let folder;
/** @type {ScriptedServer} */
let server;
/** @type {Volunteer[]} */
let started = [];

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'synapse-volunteer-'));
  server = await ScriptedServer.start(path.join(await models(), 'tales-gpt2'));
});

afterEach(async () => {
  await Promise.all(started.map((volunteer) => volunteer.stop('SIGKILL')));
  started = [];
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** @param {string[]} [args] */
function volunteer(args = []) {
  const one = new Volunteer('Ada',
    ['volunteer', server.url, '--name', 'Ada', '--account-file', path.join(folder, 'deep/account'),
      '--cache', path.join(folder, 'cache'), '--memory', '1G', ...args],
    path.join(folder, 'log'));
  started.push(one);
  return one;
}

const withModels = async () => ['--models', await models()];

/** Ask for the model until it is cached, then say that there is no work. */
function offerModel() {
  server.onCall = (call) =>
    call.nModels ? { reason: 1, retryMs: 50 } : { reason: NOT_CACHED, retryMs: 10, model: server.modelId };
}

/** @param {string} unit */
const unitOf = (unit) =>
  unitFrame({ model: server.modelId, unit, seq: 7n, tokens: [5, 6, 7], maxNew: 6 });

test('it fetches a model through a download that breaks off, and keeps it', async () => {
  offerModel();
  server.onShard = (response, bytes, from, request) => {
    if (request > 2) return false;
    response.writeHead(from ? 206 : 200, { 'content-length': bytes.length - from });
    response.write(bytes.subarray(from, from + 1_000_000), () => response.destroy());
    return true;
  };
  const one = volunteer();
  await until(() => server.calls.some((call) => call.nModels === 1), 'cached model');
  assert.equal(server.shardRequests, 3, 'two were cut off, the third brought the rest');
  await one.stop();

  server.calls = [];
  volunteer();
  await until(() => server.calls.some((call) => call.nModels === 1), 'cached model');
  assert.equal(server.shardRequests, 3, 'the second time nothing was downloaded');
});

test('it starts again where a server ignores ranges', async () => {
  offerModel();
  server.onShard = (response, bytes, from, request) => {
    response.writeHead(200, { 'content-length': bytes.length });
    if (request === 1) response.write(bytes.subarray(0, 500_000), () => response.destroy());
    else response.end(bytes);
    return true;
  };
  volunteer();
  await until(() => server.calls.some((call) => call.nModels === 1), 'cached model');
  assert.equal(server.shardRequests, 2);
});

test('it never keeps a shard whose hash is wrong', async () => {
  offerModel();
  server.onShard = (response, bytes, from, request) => {
    if (request > 1) return false;
    const wrong = Buffer.from(bytes);
    wrong[wrong.length - 1] ^= 1;
    response.end(wrong);
    return true;
  };
  volunteer();
  await until(() => server.shardRequests === 1 && server.calls.length > 0, 'download');
  await until(() => server.calls.some((call) => call.nModels === 1), 'cached model');
  assert.equal(server.shardRequests, 2, 'the wrong bytes were thrown away');
  const cached = readdirSync(path.join(folder, 'cache', server.modelId)).sort();
  assert.ok(!cached.some((name) => name.endsWith('.part')), cached.join(' '));
});

test('a file in the cache that was damaged is fetched again', async () => {
  offerModel();
  const one = volunteer();
  await until(() => server.calls.some((call) => call.nModels === 1), 'cached model');
  await one.stop();
  const cache = path.join(folder, 'cache', server.modelId);
  const shard = readdirSync(cache).find((name) => name.endsWith('.safetensors')) ?? '';
  writeFileSync(path.join(cache, shard), Buffer.alloc(statSync(path.join(cache, shard)).size));
  server.calls = [];
  volunteer();
  await until(() => server.calls.some((call) => call.nModels === 1), 'cached model');
  assert.equal(server.shardRequests, 2);
});

test('it computes a unit, shows progress, and asks for more meanwhile', async () => {
  let given = 0;
  server.onCall = (call) => {
    given++;
    if (given === 1) return { unit: unitOf(UNIT_A) };
    return { reason: 1, retryMs: 100, outcome: call.result ? 1 : 0 };
  };
  volunteer([...(await withModels()), '--delay-ms', '2000']);
  await until(() => server.progress.length >= 3, 'third sign of progress');
  assert.ok(!server.calls.some((call) => call.result), 'signs come while it computes');
  const done = await until(() => server.calls.find((call) => call.result), 'result');
  const header = parseHeader(new Uint8Array(done.result ?? []), KIND.result);
  assert.equal(header.unit, UNIT_A);
  assert.equal(resultInfo(new Uint8Array(done.result ?? [])).tokens, 6);
  assert.deepEqual(done.held, [], 'what is posted is not held any more');

  const early = server.calls[1];
  assert.deepEqual(early.held, [UNIT_A], 'it asked for the next while it had the first');
  assert.equal(early.result, null);
  assert.equal(early.waitMs, 0, 'and that call is not held');
  assert.ok(early.prefill > 0 && early.decode > 0, 'it says how fast it is');
  assert.deepEqual(server.progress[0].units, [UNIT_A]);
  server.calls.forEach((call, i) => assert.equal(call.number, BigInt(i + 1), 'calls are numbered from 1'));
});

test('it holds two units and computes them in order', async () => {
  let given = 0;
  server.onCall = (call) => {
    given++;
    if (given <= 2) return { unit: unitOf(given === 1 ? UNIT_A : UNIT_B) };
    return { reason: 1, retryMs: 100, outcome: call.result ? 1 : 0 };
  };
  volunteer([...(await withModels()), '--delay-ms', '200']);
  await until(() => server.calls.filter((call) => call.result).length === 2, 'two results');
  const results = server.calls.filter((call) => call.result);
  assert.deepEqual(results.map((call) => parseHeader(new Uint8Array(call.result ?? []), KIND.result).unit),
    [UNIT_A, UNIT_B]);
  assert.deepEqual(results[0].held, [UNIT_B]);
});

test('it repeats a call under its number until it is answered', async () => {
  let tries = 0;
  server.onCall = (call, response) => {
    if (call.number === 1n) return { unit: unitOf(UNIT_A) };
    if (!call.result || tries++ >= 3) return { reason: 1, retryMs: 100, outcome: call.result ? 1 : 0 };
    if (tries === 1) response.destroy(); // the network
    else if (tries === 2) response.writeHead(503).end('{"error":{"message":"the store is down"}}');
    else response.end(Buffer.from('half a fra')); // neither a frame nor an error
    return null;
  };
  volunteer(await withModels());
  await until(() => server.joins === 2 || tries > 3, 'the end of its patience');
  const posts = server.calls.filter((call) => call.result);
  assert.ok(posts.length >= 3);
  for (const post of posts.slice(0, 3)) assert.deepEqual(post.body, posts[0].body, 'the same bytes each time');
  await until(() => server.joins === 2, 'fresh start after an answer that is no frame');
});

test('forgotten by the server, it joins again and drops what it held', async () => {
  server.onCall = (call, response) => {
    if (server.joins === 1 && call.number === 1n) return { unit: unitOf(UNIT_A) };
    if (server.joins === 1) {
      response.writeHead(401).end('{"error":{"message":"who are you?"}}');
      return null;
    }
    return { reason: 1, retryMs: 100 };
  };
  volunteer([...(await withModels()), '--delay-ms', '300']);
  await until(() => server.joins === 2 && server.calls.length > 2, 'second joining');
  const first = server.calls.find((call, i) => i > 1 && call.number === 1n);
  assert.deepEqual(first?.held, []);
  assert.equal(first?.result, null);
  await until(() => server.presences >= 2, 'presence of the second standing');
});

test('a stopped volunteer leaves, in the middle of a unit and of a held call', async () => {
  server.onCall = (call) => (call.number === 1n ? { unit: unitOf(UNIT_A) } : { reason: 1, retryMs: 60_000 });
  const busy = volunteer([...(await withModels()), '--delay-ms', '60000']);
  await until(() => server.calls.length >= 2, 'unit in hand');
  assert.equal(await busy.stop('SIGTERM'), 0);
  assert.ok(server.log.at(-1)?.endsWith('/leave'), server.log.at(-1));

  server.onCall = () => null; // never answered
  server.calls = [];
  const idle = volunteer(await withModels());
  await until(() => server.calls.length === 1, 'held call');
  assert.equal(await idle.stop('SIGINT'), 0); // the answer that it waits for does not come
  assert.ok(server.log.at(-1)?.endsWith('/leave'), server.log.at(-1));
});

test('the account file is made once, for its owner only', async () => {
  const one = volunteer(await withModels());
  await until(() => server.calls.length > 0, 'call');
  await one.stop();
  const file = path.join(folder, 'deep/account');
  assert.ok(existsSync(file));
  assert.equal(statSync(file).mode & 0o777, 0o600);
  writeFileSync(file, 'not a key\n');
  const two = volunteer(await withModels());
  assert.equal((await two.ended)[0], 1);
});
