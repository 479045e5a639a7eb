// test_callback_kills.mjs - no event is lost over kills: batches are submitted
// and their receivers fail while synapsed and its Redis are killed again and
// again; in the end each batch that was accepted has told of its end, and of
// each of its lines, at least once, signed, under one id each.
// @ts-check

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { Webhook } from 'standardwebhooks';

import { Grid, kill, sleep, until } from '../grid/grid.mjs';

const KILLS = 6, RECEIVERS = 6;

/** @type {Grid} */
let grid;
/** @type {{headers: any, body: string, event: any}[]} what was answered 204 */
const taken = [];
/** @type {Map<string, number>} webhook-id: how often it came */
const tries = new Map();

// Each event's first delivery fails, in turn in another way.
const FAILURES = [
  (/** @type {import('node:http').ServerResponse} */ r) => r.writeHead(503).end(),
  (/** @type {import('node:http').ServerResponse} */ r) => r.destroy(),
  (/** @type {import('node:http').ServerResponse} */ r) => r.writeHead(200, { 'content-length': '9' }).write('half'),
  () => {},
];
const receivers = Array.from({ length: RECEIVERS }, (_, i) => createServer(async (request, response) => {
  let body = '';
  for await (const part of request) body += part;
  const id = String(request.headers['webhook-id']);
  const n = (tries.get(id) ?? 0) + 1;
  tries.set(id, n);
  if (i % 2 && n === 1) {
    FAILURES[tries.size % FAILURES.length](response);
    return;
  }
  response.writeHead(204).end();
  taken.push({ headers: request.headers, body, event: JSON.parse(body) });
}));

before(async () => {
  grid = await Grid.start({ args: ['--no-referee', '--callback-ms', '1000'] });
  for (const receiver of receivers) {
    receiver.listen(0, '127.0.0.1');
    await once(receiver, 'listening');
  }
});
after(async () => {
  for (const receiver of receivers) {
    receiver.closeAllConnections();
    receiver.close();
  }
  assert.deepEqual(await grid?.stop(), []);
});

test('each event arrives at least once, whatever is killed', async () => {
  /** @type {Map<string, string>} accepted batches and their secrets */
  const accepted = new Map();
  let stop = false;
  const submitting = (async () => {
    for (let i = 0; !stop; i++) {
      const { port } = /** @type {import('node:net').AddressInfo} */ (receivers[i % RECEIVERS].address());
      // Error lines need no volunteer. A batch whose answer was lost may be there or not.
      const batch = await grid.submit(Array.from({ length: 3 }, (_, k) => ({ custom_id: `l${k}`, prompt: '' })), {
        callback_url: `http://127.0.0.1:${port}/`, callback_events: ['batch.completed', 'request.completed'],
      }).catch(() => null);
      if (batch) accepted.set(batch.id, batch.callback_secret);
      await sleep(batch ? 100 : 200);
    }
  })();
  for (let i = 0; i < KILLS; i++) {
    const before = accepted.size;
    await until(() => accepted.size >= before + 4, 'accepted batches', 60_000);
    if (i % 3 === 2) {
      kill(grid.redisPid, 'SIGKILL');
      await sleep(300);
      await grid.findRedis();
      continue;
    }
    const gone = once(/** @type {import('node:child_process').ChildProcess} */ (grid.server), 'exit');
    kill(grid.server?.pid, 'SIGKILL');
    await gone;
    await grid.startServer();
  }
  stop = true;
  await submitting;
  assert.ok(accepted.size >= 4 * KILLS);
  // What an event is about: its batch, and for lines which.
  const about = () => new Set(taken.map(({ event: { type, data } }) => (type === 'batch.completed' ? data.id : `${data.batch_id} ${data.custom_id}`)));
  const wanted = [...accepted.keys()].flatMap((id) => [id, ...[0, 1, 2].map((k) => `${id} l${k}`)]);
  const missing = () => {
    const have = about();
    return wanted.filter((one) => !have.has(one));
  };
  await until(() => missing().length === 0, 'events', 110_000).catch((error) => assert.fail(`${error.message}; missing: ${missing().join(', ')}`));
  /** @type {Map<string, Set<string>>} what an event is about: its ids */
  const ids = new Map();
  for (const { headers, body, event } of taken) {
    const secret = accepted.get(event.data.batch_id ?? event.data.id);
    if (!secret) continue; // its answer was lost
    new Webhook(secret).verify(body, headers);
    const name = event.type === 'batch.completed' ? event.data.id : `${event.data.batch_id} ${event.data.custom_id}`;
    ids.set(name, (ids.get(name) ?? new Set()).add(headers['webhook-id']));
    assert.equal(event.id, headers['webhook-id']);
  }
  for (const [name, some] of ids) assert.equal(some.size, 1, name);
});
