// test_callback_events.mjs - every event arrives as the rules say: receivers
// that fail in all ways, a server that is killed, endpoints that do not hold up
// each other, secrets that change, and what each kind of event tells.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Webhook } from 'standardwebhooks';

import { Grid, kill, until } from '../grid/grid.mjs';

/** @typedef {import('node:http').ServerResponse} Answer */

/** A receiver on a port of its own, whose n-th delivery is answered by the n-th
 * of its answers, and 204 after them. */
class Receiver {
  /** @param {((answer: Answer) => void)[]} answers */
  constructor(...answers) {
    this.answers = answers;
    /** @type {{headers: Record<string, string>, body: string, event: any}[]} */
    this.got = [];
    this.secret = '';
    this.port = 0;
    this.server = createServer(async (request, response) => {
      let body = '';
      for await (const part of request) body += part;
      const headers = /** @type {Record<string, string>} */ (request.headers);
      this.got.push({ headers, body, event: JSON.parse(body) });
      const answer = this.answers.shift() ?? ((/** @type {Answer} */ r) => r.writeHead(204).end());
      answer(response);
    });
  }

  async listen() {
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = /** @type {import('node:net').AddressInfo} */ (this.server.address()).port;
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  async close() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  /** Every delivery is signed by this secret. @param {string} secret */
  verify(secret) {
    for (const { headers, body } of this.got) new Webhook(secret).verify(body, headers);
  }
}

/** @type {Grid} */
let grid;
/** @type {Receiver[]} */
const receivers = [];

/** @param {((answer: Answer) => void)[]} answers */
async function receive(...answers) {
  const receiver = await new Receiver(...answers).listen();
  receivers.push(receiver);
  return receiver;
}

before(async () => {
  grid = await Grid.start({ args: ['--callback-ms', '1000'] });
});
after(async () => {
  for (const receiver of receivers) await receiver.close();
  assert.deepEqual(await grid.stop(), []);
});

// An error line needs no volunteer.
const requests = [{ custom_id: 'a', prompt: '' }];

/** @param {string} id @returns {Promise<any[]>} the attempts, the first one first */
const attempts = async (id) => (await grid.ask(`/v1/batches/${id}/callbacks`)).data.reverse();

/** @param {number} code @param {Record<string, string>} [headers] */
const status = (code, headers = {}) => (/** @type {Answer} */ answer) => answer.writeHead(code, headers).end();
const hang = () => {};
const halfway = (/** @type {Answer} */ answer) => answer.writeHead(200, { 'content-length': '100' }).write('half');
const cut = (/** @type {Answer} */ answer) => answer.destroy();

/** @param {string} route @param {any} [body] */
async function raw(route, body) {
  const response = await fetch(grid.url + route, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${grid.key}` },
    body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, body: /** @type {any} */ (await response.json()) };
}

test('each event arrives as the rules say, over a server that is killed', async () => {
  /** @type {[string, ((answer: Answer) => void)[], number | null, RegExp | null][]} what the first attempt leaves in the log */
  const cases = [
    ['fine', [], 204, null],
    ['500', [status(500)], 500, null],
    ['a redirect', [status(302, { location: '/elsewhere' })], 302, /redirects are not followed/],
    ['no answer', [hang], null, /Timeout/],
    ['half an answer', [halfway], null, /Timeout/],
    ['cut off', [cut], null, /./],
    ['down', [], null, /connect/],
  ];
  const runs = await Promise.all(cases.map(async ([name, answers, code, why]) => {
    const receiver = await receive(...answers);
    if (name === 'down') await receiver.close();
    const batch = await grid.submit(requests, { callback_url: receiver.url });
    return { name, receiver, code, why, id: batch.id, secret: batch.callback_secret };
  }));
  for (const { name, id, code, why } of runs) {
    const [first] = await until(async () => {
      const all = await attempts(id);
      return all.length ? all : null;
    }, `first attempt of ${name}`, 15_000);
    assert.deepEqual([first.attempt, first.type, first.status], [1, 'batch.completed', code], name);
    if (why) assert.match(first.error, why, name);
    else assert.equal(first.error, null, name);
    assert.equal(first.next_attempt_at === null, name === 'fine', name);
  }
  // One that is being delivered when the server is killed.
  const held = await receive(hang);
  const late = await grid.submit(requests, { callback_url: held.url });
  await until(() => held.got.length === 1, 'delivery under way', 10_000);
  kill(grid.server?.pid, 'SIGKILL');
  await once(/** @type {import('node:child_process').ChildProcess} */ (grid.server), 'exit');
  const down = runs.find((run) => run.name === 'down')?.receiver;
  await down?.listen();
  await grid.startServer();
  for (const { name, receiver, id, secret } of [...runs, { name: 'held', receiver: held, id: late.id, secret: late.callback_secret }]) {
    const batch = await until(async () => {
      const now = await grid.ask(`/v1/batches/${id}`).catch(() => null);
      return now?.callback.delivered_at ? now : null;
    }, `delivery of ${name}`, 25_000);
    receiver.verify(secret);
    assert.equal(new Set(receiver.got.map(({ headers }) => headers['webhook-id'])).size, 1, name);
    assert.equal(receiver.got.at(-1)?.event.data.id, id);
    const all = await attempts(id);
    assert.equal(all.length, name === 'fine' || name === 'held' ? 1 : 2, name);
    assert.deepEqual([all.at(-1).status, all.at(-1).next_attempt_at], [204, null], name);
    assert.equal(batch.callback.attempts, all.length, name);
    assert.equal(receiver.got.length, { fine: 1, down: 1 }[name] ?? 2, name);
  }
});

test('410 ends it for the batch, until a redelivery is asked for', async () => {
  const receiver = await receive(status(410));
  const { id, callback_secret: secret } = await grid.submit(requests, {
    callback_url: receiver.url, callback_events: ['request.completed', 'batch.completed'],
  });
  const [gone] = await until(async () => {
    const all = await attempts(id);
    return all.length ? all : null;
  }, 'first attempt', 10_000);
  assert.deepEqual([gone.status, gone.next_attempt_at, gone.attempt], [410, null, 1]);
  await grid.finished(id, 10_000);
  assert.equal((await raw(`/v1/batches/${id}/callbacks/redeliver`, { event_id: 'evt_none' })).status, 404);
  assert.equal((await raw(`/v1/batches/${id}/callbacks/redeliver`, { event_id: gone.event_id })).status, 202);
  await until(() => receiver.got.some(({ headers, event }) => headers['webhook-id'] === gone.event_id && event.type === gone.type && receiver.got.length > 1), 'redelivery', 10_000);
  assert.equal((await raw(`/v1/batches/${id}/callbacks/redeliver`, '')).status, 202);
  await until(async () => (await grid.ask(`/v1/batches/${id}`)).callback.delivered_at, 'delivery of the end', 10_000);
  receiver.verify(secret);
  assert.ok(receiver.got.some(({ event }) => event.type === 'batch.completed'));
});

test('an endpoint that hangs does not delay another', async () => {
  let open = 0, most = 0;
  const slow = await receive();
  slow.server.on('request', (_, response) => {
    most = Math.max(most, ++open);
    response.on('close', () => open--);
  });
  slow.answers.push(...Array.from({ length: 200 }, () => hang));
  const good = await receive();
  const stuck = [];
  for (let i = 0; i < 30; i++) stuck.push(await grid.submit(requests, { callback_url: slow.url }));
  await until(() => open > 0, 'a hanging delivery', 10_000);
  const { id } = await grid.submit(requests, { callback_url: good.url });
  await until(() => good.got.length === 1, 'delivery to the good one', 10_000);
  assert.equal(good.got[0].event.data.id, id);
  assert.ok(slow.got.length < 30, `${slow.got.length} of 30 were tried already`);
  assert.ok(most <= 4, `${most} at once`);
  // It comes back: those that were not tried yet go out, the others later.
  slow.answers.length = 0;
  await until(() => new Set(slow.got.map(({ event }) => event.data.id)).size === 30, 'the rest', 40_000);
  for (const batch of stuck) assert.ok(slow.got.some(({ event }) => event.data.id === batch.id));
});

test('a new secret signs beside the one before', async () => {
  const receiver = await receive();
  const { id, callback_secret: old } = await grid.submit(requests, { callback_url: receiver.url });
  await until(() => receiver.got.length === 1, 'delivery', 10_000);
  const { body } = await raw(`/v1/batches/${id}/callbacks/secret`, '');
  assert.match(body.callback_secret, /^whsec_/);
  assert.ok(Math.abs(body.old_valid_until - Date.now() / 1000 - 86400) < 60);
  await raw(`/v1/batches/${id}/callbacks/redeliver`, {});
  await until(() => receiver.got.length === 2, 'second delivery', 10_000);
  assert.equal(receiver.got[1].headers['webhook-signature'].split(' ').length, 2);
  for (const secret of [old, body.callback_secret]) new Webhook(secret).verify(receiver.got[1].body, receiver.got[1].headers);
  // One of one's own, at once.
  const own = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
  const rotated = await raw(`/v1/batches/${id}/callbacks/secret`, { callback_secret: own, old_valid_seconds: 0 });
  assert.deepEqual([rotated.status, rotated.body.callback_secret], [200, undefined]);
  await raw(`/v1/batches/${id}/callbacks/redeliver`, {});
  await until(() => receiver.got.length === 3, 'third delivery', 10_000);
  new Webhook(own).verify(receiver.got[2].body, receiver.got[2].headers);
  assert.throws(() => new Webhook(body.callback_secret).verify(receiver.got[2].body, receiver.got[2].headers));
  assert.equal(new Set(receiver.got.map(({ headers }) => headers['webhook-id'])).size, 1);
});

test('a batch that fails says so', async () => {
  const receiver = await receive();
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new Blob(['no JSON']), 'in.jsonl');
  const file = /** @type {any} */ (await (await fetch(`${grid.url}/v1/files`, { method: 'POST', body: form, headers: { authorization: `Bearer ${grid.key}` } })).json());
  const batch = await grid.ask('/v1/batches', { input_file_id: file.id, endpoint: '/v1/completions', callback_url: receiver.url });
  await until(() => receiver.got.length === 1, 'delivery', 10_000);
  receiver.verify(batch.callback_secret);
  assert.equal(receiver.got[0].event.type, 'batch.failed');
  assert.equal(receiver.got[0].event.data.errors.data[0].code, 'invalid_json_line');
});

/** @param {string} id @returns {Promise<any[]>} the lines of a file */
async function linesOf(id) {
  const text = await (await fetch(`${grid.url}/v1/files/${id}/content`, { headers: { authorization: `Bearer ${grid.key}` } })).text();
  return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

const long = { prompt: 'Once upon a time', max_tokens: 100, ignore_eos: true };
/** One line that is wrong, some that are soon done, and very many others.
 * @param {string} name */
const mixed = (name) => [
  { custom_id: `${name}-bad`, prompt: '' },
  ...Array.from({ length: 12 }, (_, i) => ({ custom_id: `${name}-${i}`, prompt: 'The', max_tokens: 2 })),
  ...Array.from({ length: 400 }, (_, i) => ({ custom_id: `${name}-long-${i}`, ...long })),
];

test('what was done of a batch that is cancelled or expires is delivered', async () => {
  const receiver = await receive();
  grid.volunteer('Ada'); // and the referee checks
  for (const [type, name] of [['batch.cancelled', 'c'], ['batch.expired', 'x']]) {
    const batch = await grid.submit(mixed(name), { callback_url: receiver.url });
    await until(async () => (await grid.ask(`/v1/batches/${batch.id}`)).request_counts.completed > 0, 'the first lines', 60_000);
    if (name === 'c') await grid.ask(`/v1/batches/${batch.id}/cancel`, {});
    else execFileSync('redis-cli', ['-s', path.join(grid.data, 'redis.sock'), 'ZADD', 'syn:{0}:expiring', '1', batch.id]);
    const { event } = await until(() => receiver.got.find(({ event }) => event.data.id === batch.id), type, 30_000);
    assert.equal(event.type, type);
    assert.equal(event.data.status, type.slice('batch.'.length));
    const good = await linesOf(event.data.output_file_id), bad = await linesOf(event.data.error_file_id);
    assert.deepEqual([good.length, bad.length], [event.data.request_counts.completed, event.data.request_counts.failed]);
    assert.ok(good.length > 0 && good.every((line) => line.response.status_code === 200));
    assert.ok(bad.some((line) => line.custom_id === `${name}-bad` && line.error.code === 'invalid_field'));
    const late = bad.filter((line) => line.error.code === 'batch_expired');
    assert.equal(late.length, type === 'batch.expired' ? 413 - good.length - 1 : 0);
    assert.equal(new Set([...good, ...bad].map((line) => line.custom_id)).size, good.length + bad.length);
  }
  await Promise.all(grid.volunteers.map((volunteer) => volunteer.stop()));
});

test('progress and single requests are told by choice', async () => {
  const receiver = await receive();
  const lines = Array.from({ length: 40 }, (_, i) => ({ custom_id: `r-${i}`, prompt: 'The', max_tokens: 3 }));
  const { id, callback, callback_secret: secret } = await grid.submit(lines, {
    callback_url: receiver.url, callback_events: ['batch.progress', 'request.completed'],
  });
  assert.deepEqual(callback.events, ['batch.progress', 'request.completed']);
  // progress comes at most once a second, counted from the start
  await new Promise((resolve) => setTimeout(resolve, 1100));
  grid.volunteer('Alan');
  await grid.finished(id);
  const of = (/** @type {string} */ type) => receiver.got.map(({ event }) => event).filter((event) => event.type === type);
  await until(() => of('request.completed').length >= 40, 'all request events', 20_000);
  const told = new Set(of('request.completed').map((event) => event.data.custom_id));
  assert.deepEqual([...told].sort(), lines.map((line) => line.custom_id).sort());
  const results = await grid.results(id);
  for (const { data } of of('request.completed')) {
    assert.equal(data.batch_id, id);
    assert.equal(results[data.index].custom_id, data.custom_id);
  }
  const progress = of('batch.progress');
  assert.ok(progress.length >= 1 && progress.length <= 10, `${progress.length} progress events`);
  for (const { data } of progress) assert.ok(data.request_counts.completed >= 4, JSON.stringify(data.request_counts));
  assert.equal(of('batch.completed').length, 0); // not asked for
  receiver.verify(secret);
  assert.equal((await grid.ask(`/v1/batches/${id}`)).callback.delivered_at, null);
});

test('wrong fields are refused by name', async () => {
  const receiver = await receive();
  /** @type {[any, string][]} */
  const wrong = [
    [[], 'callback_events'], ['batch.completed', 'callback_events'], [['batch.done'], 'callback_events'],
    [['batch.failed', 'batch.failed'], 'callback_events'], [[1], 'callback_events'], [{}, 'callback_events'],
  ];
  for (const [callback_events, param] of wrong) {
    const { status, body } = await raw('/v1/batches', { requests, callback_url: receiver.url, callback_events });
    assert.deepEqual([status, body.error.param], [400, param]);
  }
  assert.equal((await raw('/v1/batches', { requests, callback_events: ['batch.failed'] })).body.error.param, 'callback_events');
  const { id } = await grid.submit(requests, { callback_url: receiver.url });
  /** @type {[string, any, number, string | null][]} */
  const cases = [
    ['redeliver', { event_id: 5 }, 400, 'event_id'], ['redeliver', { colour: 1 }, 400, 'colour'], ['redeliver', '[', 400, null],
    ['redeliver', { event_id: 'x'.repeat(64) }, 400, 'event_id'], ['redeliver', { event_id: 'evt_other' }, 404, 'event_id'],
    ['secret', { callback_secret: 'x' }, 400, 'callback_secret'], ['secret', { callback_secret: 5 }, 400, 'callback_secret'],
    ['secret', { old_valid_seconds: -1 }, 400, 'old_valid_seconds'], ['secret', { old_valid_seconds: 1e9 }, 400, 'old_valid_seconds'],
    ['secret', { colour: 1 }, 400, 'colour'],
  ];
  for (const [route, sent, code, param] of cases) {
    const { status, body } = await raw(`/v1/batches/${id}/callbacks/${route}`, sent);
    assert.deepEqual([status, body.error.param], [code, param], JSON.stringify(sent));
  }
  const quiet = (await grid.submit(requests)).id;
  for (const route of ['redeliver', 'secret']) {
    assert.equal((await raw(`/v1/batches/batch_none/callbacks/${route}`, {})).status, 404);
    assert.deepEqual([(await raw(`/v1/batches/${quiet}/callbacks/${route}`, {})).body.error.code], ['no_callback']);
    assert.equal((await fetch(`${grid.url}/v1/batches/${id}/callbacks/${route}`, { method: 'POST', body: '{}' })).status, 401);
  }
  assert.equal((await raw('/v1/batches/batch_none/callbacks')).status, 404);
  assert.equal((await raw(`/v1/batches/${id}/callbacks?limit=0`)).body.error.param, 'limit');
  assert.deepEqual((await raw(`/v1/batches/${quiet}/callbacks`)).body.data, []);
});
