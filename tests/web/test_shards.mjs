// test_shards.mjs - downloads against a real HTTP server that breaks them off,
// lies and fails: only bytes with the promised SHA-256 are ever kept.
// @ts-check

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import test from 'node:test';

import { Backoff, HttpError } from '../../volunteer/web/http.mjs';
import { ShardError, fetchShard } from '../../volunteer/web/shard_fetch.mjs';
import { MemoryStore } from '../../volunteer/web/shard_store.mjs';

const data = randomBytes(300000);
const sha256 = createHash('sha256').update(data).digest('hex');

/**
 * @typedef {import("node:http").IncomingMessage} Request
 * @typedef {import("node:http").ServerResponse} Response
 */

/**
 * Serve with `answer` and download once.
 * @param {(request: Request, response: Response, n: number) => void} answer  n counts from 1
 * @param {{signal?: AbortSignal, store?: MemoryStore}} [options]
 */
async function download(answer, { signal = new AbortController().signal, store = new MemoryStore() } = {}) {
  /** @type {(string|undefined)[]} */
  const ranges = [];
  const server = createServer((request, response) => {
    ranges.push(request.headers.range);
    answer(request, response, ranges.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const seen = { down: 0, have: 0 };
  const hooks = {
    newHasher: () => {
      const hash = createHash('sha256');
      return { update: (/** @type {Uint8Array} */ b) => void hash.update(b), hex: () => hash.digest('hex') };
    },
    onBytes: (/** @type {number} */ n) => { seen.down += n; },
    onHave: (/** @type {number} */ n) => { seen.have = n; },
    backoff: new Backoff(1, 2),
  };
  try {
    const shard = { url: `http://127.0.0.1:${port}/shard`, sha256, bytes: data.length };
    const blob = await fetchShard(store, shard, hooks, signal);
    return { bytes: Buffer.from(await blob.arrayBuffer()), ranges, seen, store };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** @param {Response} response */
function whole(response) {
  response.writeHead(200, { 'content-length': data.length }).end(data);
}

/**
 * @param {Request} request
 * @param {Response} response
 */
function rest(request, response) {
  const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  response.writeHead(206, {
    'content-range': `bytes ${from}-${data.length - 1}/${data.length}`, 'content-length': data.length - from,
  });
  response.end(data.subarray(from));
}

/** @param {Response} response */
function broken(response) {
  response.writeHead(200, { 'content-length': data.length });
  response.write(data.subarray(0, 100000), () => setTimeout(() => response.destroy(), 30));
}

test('a download is verified, kept and then not fetched again', async () => {
  const { bytes, seen, store } = await download((_, response) => whole(response));
  assert.ok(bytes.equals(data));
  assert.deepEqual(seen, { down: data.length, have: data.length });
  const again = await download(() => assert.fail('the network was used'), { store });
  assert.ok(again.bytes.equals(data));
});

test('a broken download goes on where it stopped', async () => {
  const { bytes, ranges, seen } = await download((request, response, n) =>
    n === 1 ? broken(response) : rest(request, response));
  assert.ok(bytes.equals(data));
  assert.deepEqual(ranges, [undefined, 'bytes=100000-']);
  assert.equal(seen.down, data.length);
});

test('a server that ignores ranges sends it all again', async () => {
  const { bytes, ranges } = await download((_, response, n) => (n === 1 ? broken(response) : whole(response)));
  assert.ok(bytes.equals(data));
  assert.equal(ranges.length, 2);
});

test('wrong bytes are dropped and fetched once more', async () => {
  const { bytes } = await download((_, response, n) => {
    if (n > 1) return whole(response);
    response.writeHead(200).end(Buffer.alloc(data.length));
  });
  assert.ok(bytes.equals(data));
});

test('a server that keeps lying is refused and nothing is kept', async () => {
  const store = new MemoryStore();
  const lies = (/** @type {any} */ _, /** @type {Response} */ response) =>
    void response.writeHead(200).end(Buffer.alloc(data.length));
  await assert.rejects(download(lies, { store }), ShardError);
  assert.deepEqual(await store.list(), []);
});

test('more bytes than promised are refused', async () => {
  const more = (/** @type {any} */ _, /** @type {Response} */ response) =>
    void response.writeHead(200).end(Buffer.concat([data, Buffer.from('x')]));
  await assert.rejects(download(more), /more bytes than it promised/);
});

test('errors of the server are tried again, refusals are not', async () => {
  const { ranges } = await download((_, response, n) => (n < 3 ? void response.writeHead(503).end() : whole(response)));
  assert.equal(ranges.length, 3);
  await assert.rejects(download((_, response) => void response.writeHead(404).end()), HttpError);
});

test('a download that does not get on gives up', async () => {
  await assert.rejects(download((_, response) => void response.destroy()), /does not get on/);
});

test('stopping ends a download in the middle', async () => {
  const control = new AbortController();
  const slow = (/** @type {any} */ _, /** @type {Response} */ response) => {
    response.writeHead(200, { 'content-length': data.length });
    response.write(data.subarray(0, 1000), () => setTimeout(() => control.abort(new Error('stopped')), 20));
  };
  await assert.rejects(download(slow, { signal: control.signal }), /stopped/);
});
