// Callbacks: signed as the public library checks them, tried again, refused
// where they must not go.
// @ts-check

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import OpenAI from 'openai';
import { Webhook } from 'standardwebhooks';

import { BUILD, Grid, kill, models, synapse, until } from '../grid/grid.mjs';

/** @typedef {{headers: Record<string, string>, body: string}} Delivery */

/** @type {Delivery[]} */
const got = [];
/** @type {number[]} statuses for the next deliveries; then 200 */
const answers = [];

const receiver = createServer((request, response) => {
  let body = '';
  request.on('data', (data) => (body += data));
  request.on('end', () => {
    got.push({ headers: /** @type {Record<string, string>} */ (request.headers), body });
    response.statusCode = answers.shift() ?? 200;
    if (response.statusCode === 302) response.setHeader('location', '/elsewhere');
    response.end('thanks');
  });
});
let url = '';

before(async () => {
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (receiver.address()).port}/hook`;
});

after(() => {
  receiver.closeAllConnections();
  receiver.close();
});

// An error line needs no volunteer.
const requests = [{ custom_id: 'a', prompt: '' }];

/** @param {Grid} grid @param {string} id */
const callback = async (grid, id) => (await grid.ask(`/v1/batches/${id}`)).callback;

test('a completed batch is called back once, signed', async () => {
  const grid = await Grid.start({ args: ['--no-referee'] });
  got.length = 0;
  const batch = await grid.submit(requests, { callback_url: url });
  assert.match(batch.callback_secret, /^whsec_/);
  assert.equal(batch.callback.url, url);
  await until(async () => (await callback(grid, batch.id)).delivered_at, 'delivery', 15_000);
  assert.equal(got.length, 1);
  const { headers, body } = got[0];
  const event = /** @type {any} */ (new Webhook(batch.callback_secret).verify(body, headers));
  assert.equal(event.type, 'batch.completed');
  assert.equal(event.data.id, batch.id);
  assert.equal(event.data.status, 'completed');
  assert.equal(event.data.request_counts.failed, 1);
  assert.equal(headers['content-type'], 'application/json');
  assert.throws(() => new Webhook(batch.callback_secret).verify(`${body} `, headers));
  // OpenAI's client takes it for one of its own.
  const { webhooks } = new OpenAI({ apiKey: 'none', webhookSecret: batch.callback_secret });
  const official = await webhooks.unwrap(body, headers);
  assert.ok(official.type === 'batch.completed');
  assert.deepEqual([official.id, official.object, official.data.id], [headers['webhook-id'], 'event', batch.id]);
  assert.ok(Math.abs(official.created_at - Date.now() / 1000) < 60);
  assert.equal(new Date(event.timestamp).getTime() / 1000 | 0, official.created_at);
  await assert.rejects(webhooks.unwrap(`${body} `, headers));
  const later = await callback(grid, batch.id);
  assert.equal(later.attempts, 1);
  assert.equal(later.last_status, 200);
  assert.equal((await grid.ask(`/v1/batches/${batch.id}`)).callback_secret, undefined);

  // A secret of one's own.
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
  const own = await grid.submit(requests, { callback_url: url, callback_secret: secret });
  assert.equal(own.callback_secret, undefined);
  await until(() => got.length === 2, 'second delivery', 15_000);
  new Webhook(secret).verify(got[1].body, got[1].headers);
  assert.deepEqual(await grid.stop(), []);
});

test('a failed delivery is tried again under the same id, through a restart', async () => {
  const grid = await Grid.start({ args: ['--no-referee'] });
  got.length = 0;
  answers.push(500);
  const { id, callback_secret: secret } = await grid.submit(requests, { callback_url: url });
  await until(async () => (await callback(grid, id)).last_status === 500, 'first attempt', 15_000);
  kill(grid.server?.pid, 'SIGKILL');
  await once(/** @type {import('node:child_process').ChildProcess} */ (grid.server), 'exit');
  await grid.startServer();
  await until(() => got.length >= 2, 'second attempt', 20_000);
  assert.equal(got[0].headers['webhook-id'], got[1].headers['webhook-id']);
  new Webhook(secret).verify(got[1].body, got[1].headers);
  const done = await until(async () => {
    const now = await callback(grid, id).catch(() => null);
    return now?.delivered_at ? now : null;
  }, 'delivery', 10_000);
  assert.equal(done.attempts, 2);
  assert.deepEqual(await grid.stop(), []);
});

test('redirects are not followed, and 410 ends the trying', async () => {
  const grid = await Grid.start({ args: ['--no-referee'] });
  got.length = 0;
  answers.push(302);
  const first = await grid.submit(requests, { callback_url: url });
  await until(async () => (await callback(grid, first.id)).last_status === 302, 'first attempt', 15_000);
  assert.equal(got.length, 1);
  answers.push(410);
  const second = await grid.submit(requests, { callback_url: url });
  await until(async () => (await callback(grid, second.id)).last_status === 410, 'attempt', 15_000);
  assert.equal((await callback(grid, second.id)).delivered_at, null);
  answers.length = 0;
  assert.deepEqual(await grid.stop(), []);
});

test('private addresses and plain http are refused unless allowed', async (t) => {
  // Grid allows them, so this server is started by hand.
  const folder = mkdtempSync(path.join(tmpdir(), 'synapse-callback-'));
  const data = path.join(folder, 'data');
  const args = ['--models', await models(), '--data', data, '--listen', '127.0.0.1:0', '--no-referee'];
  const child = spawn(path.join(BUILD, 'bin/synapsed'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (text) => (log += text));
  t.after(() => child.kill('SIGKILL')); // if it is still there
  const [line] = await once(child.stdout, 'data');
  const server = /listening on (\S+)/.exec(String(line))?.[1] ?? '';
  const key = await until(async () => {
    const made = await synapse(['keys', 'create', '--data', data]);
    return made.code === 0 ? made.out.trim().split('\n').at(-1) : null;
  }, 'key', 15_000);
  /** @param {string} callbackUrl */
  const submit = async (callbackUrl) => {
    const response = await fetch(`${server}/v1/batches`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ requests, callback_url: callbackUrl }),
    });
    return { status: response.status, body: /** @type {any} */ (await response.json()) };
  };
  const refused = [
    url, 'http://example.com/', 'ftp://example.com/', 'file:///etc/passwd', 'https://', '//example.com/', 'https://user@example.com/',
    'https://user:word@example.com/', 'https://exam ple.com/', 'https://example.com/\r\nX: y', 'javascript:alert(1)', '',
    // loopback and its spellings
    'https://127.0.0.1/', 'https://127.255.255.254/', 'https://127.0.0.1./', 'https://2130706433/', 'https://0x7f000001/', 'https://0x7f.1/',
    'https://127.1/', 'https://0177.0.0.1/', 'https://017700000001/', 'https://[::1]/', 'https://[0:0:0:0:0:0:0:1]/', 'https://localhost/',
    'https://LOCALHOST/', 'https://localhost./', 'https://localhost:8443/',
    // private, link-local, carrier-grade, unique-local, unspecified, multicast
    'https://10.1.2.3/', 'https://172.16.0.1/', 'https://172.31.255.255/', 'https://192.168.1.1/', 'https://169.254.169.254/latest', 'https://0xa9fea9fe/',
    'https://100.64.0.1/', 'https://100.127.255.255/', 'https://0.0.0.0/', 'https://0/', 'https://224.0.0.1/', 'https://255.255.255.255/',
    'https://[fd00::1]/', 'https://[fc00::1]/', 'https://[fe80::1]/', 'https://[::]/', 'https://[ff02::1]/',
    // mapped and translated
    'https://[::ffff:127.0.0.1]/', 'https://[::ffff:7f00:1]/', 'https://[::ffff:10.0.0.1]/', 'https://[::127.0.0.1]/', 'https://[64:ff9b::a00:1]/', 'https://[2002:7f00:1::]/',
  ];
  for (const wrong of refused) {
    const answer = await submit(wrong);
    assert.equal(answer.status, wrong ? 400 : 200, wrong); // "" is no callback
    if (wrong) assert.equal(answer.body.error.param, 'callback_url', wrong);
    else assert.equal(answer.body.callback, null);
  }
  // A name that resolves to such an address is stopped when it is called.
  got.length = 0;
  const port = new URL(url).port;
  const answer = await submit(`https://sub.localhost:${port}/`);
  assert.equal(answer.status, 200);
  await until(() => /callback_failed .*private network/.test(log), 'refusal', 15_000);
  // A resolver that fails is a failed attempt, to be tried again.
  const lost = await submit('https://no-such-host.invalid/');
  assert.equal(lost.status, 200);
  const [first] = await until(async () => {
    const response = await fetch(`${server}/v1/batches/${lost.body.id}/callbacks`, { headers: { authorization: `Bearer ${key}` } });
    const { data } = /** @type {any} */ (await response.json());
    return data.length ? data : null;
  }, 'attempt without an address', 30_000);
  assert.equal(first.status, null);
  assert.match(first.error, /resolve/);
  assert.ok(first.next_attempt_at > first.at);
  assert.equal(got.length, 0);
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
  rmSync(folder, { recursive: true, force: true });
});
