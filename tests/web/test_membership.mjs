// test_membership.mjs - the work call against a real HTTP server that fails in
// every way: the same bytes are sent until there is an answer.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import test from 'node:test';

import { Membership, RejoinError } from '../../volunteer/web/grid.mjs';
import { Backoff, HttpError, NetworkError, sleep } from '../../volunteer/web/http.mjs';
import { Outcome, fromHex, toHex } from '../../volunteer/web/syn1.mjs';

const program = `${process.env.SYNAPSE_BUILD ?? 'build/dev'}/tests/web/syn1_frames`;
const frames = Object.fromEntries(
  execFileSync(program, { encoding: 'utf8' }).trim().split('\n').map((line) => line.split(' ')),
);
const answerBytes = fromHex(frames.none);
const callBytes = /** @type {Uint8Array<ArrayBuffer>} */ (fromHex(frames.call));

/**
 * @typedef {import('node:http').ServerResponse} Response
 */

/**
 * Make one call to a server whose n-th answer is given, counted from 1.
 * @param {(response: Response, n: number) => void} answer
 * @param {AbortSignal} [signal]
 */
async function call(answer, signal = new AbortController().signal) {
  /** @type {string[]} */
  const bodies = [];
  /** @type {string[]} */
  const retries = [];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    bodies.push(Buffer.concat(parts).toString('hex'));
    assert.equal(request.headers.authorization, 'Bearer secret');
    answer(response, bodies.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const member = new Membership(`http://127.0.0.1:${port}`, { id: 'vol_1', token: 'secret', account_id: '', name: '' });
  const hooks = { onRetry: (/** @type {string} */ why) => void retries.push(why), onDown: () => {}, onUp: () => {} };
  try {
    return { answer: await member.call(callBytes, 0, hooks, signal), bodies, retries };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** @param {Response} response */
function good(response) {
  response.writeHead(200).end(answerBytes);
}

test('a call is repeated byte for byte through errors and broken connections', async () => {
  const { answer, bodies, retries } = await call((response, n) => {
    if (n === 1) return void response.writeHead(503).end('{"error": {"message": "the store is down"}}');
    if (n === 2) return void response.destroy();
    good(response);
  });
  assert.equal(answer.outcome, Outcome.ACCEPTED);
  assert.deepEqual(bodies, Array(3).fill(toHex(callBytes)));
  assert.equal(retries[0], 'the store is down');
  assert.equal(retries.length, 2);
});

test('an answer that comes with 410 is read like any other', async () => {
  const { answer } = await call((response) => void response.writeHead(410).end(answerBytes));
  assert.equal(answer.retryMs, 1500);
});

test('who is no longer known joins again; who is wrong is told', async () => {
  for (const status of [401, 404, 409])
    await assert.rejects(call((response) => void response.writeHead(status).end()), RejoinError);
  const wrong = call((response) => void response.writeHead(400).end('{"error": {"message": "no frame"}}'));
  await assert.rejects(wrong, (error) => error instanceof HttpError && error.status === 400 && error.message === 'no frame');
});

test('stopping ends a held call', async () => {
  const control = new AbortController();
  await assert.rejects(call(() => control.abort(new Error('stopped')), control.signal), /stopped/);
});

test('a server that cannot be reached is a network error', async () => {
  const who = { account: '', name: '', backend: '', memory: 0, threads: 1 };
  await assert.rejects(Membership.join('http://127.0.0.1:1', who, async () => '', new AbortController().signal), NetworkError);
});

test('waits double up to a limit, with jitter', () => {
  const low = new Backoff(100, 1000, () => 0);
  const high = new Backoff(100, 1000, () => 1);
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => low.next()), [50, 100, 200, 400, 500, 500]);
  assert.deepEqual([1, 2, 3, 4, 5].map(() => high.next()), [100, 200, 400, 800, 1000]);
  high.reset();
  assert.equal(high.next(), 100);
});

test('a sleep ends with its signal', async () => {
  await assert.rejects(sleep(10000, AbortSignal.abort(new Error('enough'))), /enough/);
});
