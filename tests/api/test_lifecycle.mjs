// How synapsed comes up, goes down and comes back: ports, folders, its own
// Redis, signals.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get as httpsGet } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { RawVolunteer } from '../grid/raw_volunteer.mjs';
import { BUILD, Grid, kill, models, sleep, until } from '../grid/grid.mjs';

const SYNAPSED = path.join(BUILD, 'bin/synapsed');

/** @type {string} */
let folder;

before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'synapse-life-'));
});

after(() => rmSync(folder, { recursive: true, force: true }));

/** Run synapsed until it ends by itself. @param {string[]} args */
async function ends(args) {
  const child = spawn(SYNAPSED, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', err = '';
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  const late = setTimeout(() => child.kill('SIGTERM'), 20_000);
  const [code] = await once(child, 'close');
  clearTimeout(late);
  return { code, out, err };
}

/** @param {string} url */
const health = (url) => fetch(`${url}/healthz`, { signal: AbortSignal.timeout(5000) }).then((r) => r.status, () => 0);

/** @param {number} pid */
function isGone(pid) {
  try {
    process.kill(pid, 0);
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

test('wrong options are named, with exit status 2', async () => {
  const model = await models();
  /** @type {[string[], RegExp][]} */
  const cases = [
    [[], /--models is missing/],
    [['--models', model, '--listen', 'nonsense'], /--listen: bad value "nonsense"/],
    [['--models', model, '--listen', '1.2.3.4:70000'], /--listen: bad value/],
    [['--models', model, '--trust-proxy', '10.0.0.0/40'], /--trust-proxy: bad value/],
    [['--models', model, '--same-place', 'home'], /--same-place: bad value/],
    [['--models', model, '--log-bytes', '-1'], /--log-bytes: bad value/],
    [['--models', model, '--tls-cert', 'x'], /go together/],
    [['--models', model, '--retention', '0'], /--retention: bad value/],
    [['--models', model, 'more'], /unexpected argument "more"/],
    [['--models', model, '--colour'], /unrecognized option/],
  ];
  for (const [args, text] of cases) {
    const { code, err } = await ends(args);
    assert.equal(code, 2, err);
    assert.match(err, text);
  }
  const help = await ends(['--help']);
  assert.equal(help.code, 0);
  assert.match(help.out, /--trust-proxy/);
});

test('what cannot be served is named, with exit status 1', async () => {
  const model = await models();
  const data = path.join(folder, 'data-refused');
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (taken.address());
  const bad = path.join(folder, 'bad.pem');
  writeFileSync(bad, 'nonsense');
  const lying = path.join(folder, 'lying/m');
  mkdirSync(lying, { recursive: true });
  writeFileSync(path.join(lying, 'manifest.json'), '{"format":1');
  /** @type {[string[], RegExp][]} */
  const cases = [
    [['--models', model, '--listen', `127.0.0.1:${port}`], new RegExp(`127.0.0.1:${port}: the port is taken`)],
    [['--models', model, '--alias', 'nonsense'], /--alias: nonsense: write NAME=MODEL/],
    [['--models', model, '--alias', 'small=none'], /--alias: small=none: there is no model none/],
    [['--models', model, '--alias', 'tales-gpt2=tales-gpt2'], /that name is taken/],
    [['--models', model, '--listen', '203.0.113.1:0'], /no such address on this machine/],
    [['--models', path.join(folder, 'none')], /no such folder/],
    [['--models', folder], /no model folder there/],
    [['--models', path.join(folder, 'lying')], /manifest\.json/],
    [['--models', model, '--listen', '127.0.0.1:0', '--redis', 'nonsense'], /write unix:\/path or HOST:PORT/],
    [['--models', model, '--listen', '127.0.0.1:0', '--tls-cert', bad, '--tls-key', bad], /certificate and key/],
    [['--models', model, '--listen', '127.0.0.1:0', '--data', path.join(folder, 'a/b/c')], /No such file/],
  ];
  for (const [args, text] of cases) {
    const { code, err } = await ends(args.includes('--data') ? args : ['--data', data, ...args]);
    assert.equal(code, 1, err);
    assert.match(err, text);
  }
  taken.close();
});

test('a second synapsed on the same data folder is refused', async () => {
  const grid = await Grid.start({ args: ['--no-referee'] });
  const { code, err } = await ends(['--models', grid.models, '--data', grid.data, '--listen', '127.0.0.1:0']);
  assert.equal(code, 1);
  assert.match(err, /another synapsed uses this data folder/);
  assert.equal(await health(grid.url), 200);
  assert.deepEqual(await grid.stop(), []);
});

test('a Redis that dies comes back with all it had', async () => {
  const grid = await Grid.start({ args: ['--no-referee'] });
  const { id } = await grid.submit([{ custom_id: 'a', prompt: 'Once' }]);
  for (let i = 0; i < 2; i++) {
    const dead = grid.redisPid;
    kill(dead, 'SIGKILL');
    await until(() => isGone(dead), 'death of Redis', 5000);
    await until(async () => (await health(grid.url)) === 200 && (await grid.findRedis()) !== dead, 'new Redis', 20_000);
    assert.equal((await grid.ask(`/v1/batches/${id}`)).request_counts.total, 1);
  }
  assert.deepEqual(await grid.stop(), []);
});

test('without Redis, clients are told to come back', async () => {
  const grid = await Grid.start({ args: ['--no-referee'] });
  kill(grid.redisPid, 'SIGSTOP');
  kill(grid.redisPid, 'SIGKILL');
  // Until it is back, every answer is a 503 with a reason or a success.
  for (let i = 0; i < 20; i++) {
    const answer = await fetch(`${grid.url}/v1/batches`, { headers: { authorization: `Bearer ${grid.key}` } });
    const body = await answer.json();
    assert.ok(answer.status === 200 || answer.status === 503, String(answer.status));
    if (answer.status === 503) {
      assert.equal(body.error.type, 'server_error');
      assert.equal(answer.headers.get('retry-after'), '1');
    }
    await sleep(50);
  }
  await until(async () => (await health(grid.url)) === 200, 'health', 20_000);
  await grid.findRedis();
  assert.deepEqual(await grid.stop(), []);
});

test('killed, it leaves its Redis, which the next one adopts and ends', async () => {
  const grid = await Grid.start({ args: ['--no-referee'] });
  const { id } = await grid.submit([{ custom_id: 'a', prompt: 'Once' }]);
  const redis = grid.redisPid;
  kill(grid.server?.pid, 'SIGKILL');
  await once(/** @type {import('node:child_process').ChildProcess} */ (grid.server), 'exit');
  assert.ok(!isGone(redis));
  await grid.startServer();
  assert.equal(grid.redisPid, redis);
  await until(async () => (await health(grid.url)) === 200, 'health', 10_000);
  assert.equal((await grid.ask(`/v1/batches/${id}`)).id, id);
  assert.deepEqual(await grid.stop(), []);
  assert.ok(isGone(redis));
});

test('asked to end, it answers what it holds, ends its children and says so', async () => {
  const grid = await Grid.start();
  try {
    const referee = await until(() => grid.findReferee(), 'referee');
    grid.volunteer('v1', ['--quiet']);
    await until(async () => (await grid.ask('/v1/stats')).volunteers.filter((/** @type {any} */ v) => v.state === 'waiting').length === 2, 'two held calls');
    kill(grid.server?.pid, 'SIGHUP'); // of no effect
    kill(grid.server?.pid, 'SIGTERM');
    const [code] = await once(/** @type {import('node:child_process').ChildProcess} */ (grid.server), 'exit');
    assert.equal(code, 0);
    assert.ok(isGone(referee));
    assert.ok(isGone(grid.redisPid));
    assert.match(readFileSync(grid.serverLog, 'utf8'), /event=stopped status=0 cut=0$/m);
  } finally {
    assert.deepEqual(await grid.stop(), []);
  }
});

test('streams that are asked for while it goes down end at once', async () => {
  const grid = await Grid.start();
  try {
    const volunteer = await RawVolunteer.join(grid.url, 'v1'); // it has no presence any more when the server ends
    const referee = await until(() => grid.findReferee(), 'referee');
    kill(referee, 'SIGSTOP'); // the server waits for its parting call, and still listens
    kill(grid.server?.pid, 'SIGTERM');
    await until(() => /event=draining/.test(readFileSync(grid.serverLog, 'utf8')), 'end to begin');
    const asked = fetch(`${grid.url}/v1/completions`, {
      method: 'POST', headers: { authorization: `Bearer ${grid.key}` }, body: JSON.stringify({ prompt: 'x', stream: true }),
    });
    const presence = await fetch(volunteer.route('presence'), { headers: volunteer.headers() });
    assert.equal(presence.status, 200);
    assert.equal(await presence.text(), '');
    const answer = await asked;
    assert.equal(answer.status, 503);
    assert.equal((await answer.json()).error.code, 'interrupted');
    kill(referee, 'SIGKILL');
    const [code] = await once(/** @type {import('node:child_process').ChildProcess} */ (grid.server), 'exit');
    assert.equal(code, 0);
    assert.match(readFileSync(grid.serverLog, 'utf8'), /event=stopped status=0 cut=0$/m);
  } finally {
    await grid.stop();
  }
});

test('a referee that dies is started again', async () => {
  const grid = await Grid.start();
  const first = await until(() => grid.findReferee(), 'referee', 10_000);
  kill(first, 'SIGKILL');
  await until(() => grid.findReferee() && grid.findReferee() !== first, 'new referee', 15_000);
  kill(grid.server?.pid, 'SIGKILL');
  await until(() => grid.findReferee() === 0, 'end of the referee with its parent', 10_000);
  await grid.startServer();
  assert.deepEqual(await grid.stop(), []);
});

test('a data folder whose path is too long for a socket works', async () => {
  const long = path.join(folder, 'd'.repeat(60), 'e'.repeat(60));
  mkdirSync(path.dirname(long));
  const child = spawn(SYNAPSED, ['--models', await models(), '--data', long, '--listen', '127.0.0.1:0', '--no-referee'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = await once(child.stdout, 'data');
  const url = /listening on (\S+)/.exec(String(line))?.[1] ?? '';
  await until(async () => (await health(url)) === 200, 'health', 10_000);
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
});

test('https serves the same, and the referee still gets in', async () => {
  const key = path.join(folder, 'key.pem');
  const cert = path.join(folder, 'cert.pem');
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
    '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=grid.example'], { stdio: 'ignore' });
  const data = path.join(folder, 'data-tls');
  const child = spawn(SYNAPSED, ['--models', await models(), '--data', data, '--listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = await once(child.stdout, 'data');
  const url = /listening on (https:\S+)/.exec(String(line))?.[1] ?? '';
  /** @param {string} route @returns {Promise<{status: number | undefined, text: string}>} */
  const get = (route) => new Promise((resolve, reject) => {
    httpsGet(url + route, { ca: readFileSync(cert), servername: 'grid.example', agent: false }, (response) => {
      let text = '';
      response.on('data', (part) => (text += part));
      response.on('end', () => resolve({ status: response.statusCode, text }));
    }).on('error', reject);
  });
  await until(async () => (await get('/v1/stats').catch(() => null))?.text.includes('"referees":1'), 'referee', 20_000);
  assert.equal((await get('/healthz')).status, 200);
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
});

test('two servers share one grid', async () => {
  const grid = await Grid.start();
  const redis = ['--redis', `unix:${path.join(grid.data, 'redis.sock')}`, '--files', path.join(grid.data, 'files')];
  const child = spawn(SYNAPSED, ['--models', grid.models, '--data', path.join(folder, 'data-second'), '--listen', '127.0.0.1:0', '--no-referee', ...redis], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = await once(child.stdout, 'data');
  const second = /listening on (\S+)/.exec(String(line))?.[1] ?? '';
  await until(async () => (await health(second)) === 200, 'health', 10_000);
  // Submitted to one, computed through the other.
  const first = grid.url;
  const { id } = await grid.submit([{ custom_id: 'a', prompt: 'Once upon', max_tokens: 4, temperature: 0 }]);
  grid.url = second;
  grid.volunteer('v1', ['--quiet']);
  assert.equal((await grid.finished(id, 60_000)).request_counts.completed, 1);
  const lines = await grid.results(id);
  grid.url = first;
  assert.deepEqual(await grid.results(id), lines);
  await Promise.all(grid.volunteers.map((volunteer) => volunteer.stop()));
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
  assert.equal(await health(first), 200); // its Redis was not the second one's to end
  assert.deepEqual(await grid.stop(), []);
});
