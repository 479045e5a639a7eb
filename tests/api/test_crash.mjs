// test_crash.mjs - synapsed is killed in the middle of an upload, of reading a
// file in, of a request that somebody waits for: what was accepted is there,
// what was not leaves nothing.
// @ts-check

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Grid, kill, until } from '../grid/grid.mjs';

/** @type {Grid} */
let grid;

before(async () => {
  grid = await Grid.start({ args: ['--no-referee'] });
});
after(async () => assert.deepEqual(await grid?.stop(), []));

async function restart() {
  const server = /** @type {import('node:child_process').ChildProcess} */ (grid.server);
  const gone = once(server, 'exit');
  kill(server.pid, 'SIGKILL');
  await gone;
  await grid.startServer();
  await until(async () => grid.ask('/v1/files').catch(() => null), 'server', 20_000);
}

const folder = () => path.join(grid.data, 'files');
const parts = () => readdirSync(folder()).filter((name) => name.endsWith('.part'));

/** @param {number} n */
const linesOf = (n) => Array.from({ length: n }, (_, i) =>
  `{"custom_id":"l${i}","method":"POST","url":"/v1/completions","body":{"model":"tales-gpt2","prompt":"Once","max_tokens":2}}\n`);

/** @param {string[]} lines */
async function upload(lines) {
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new File(lines, 'in.jsonl'));
  const response = await fetch(`${grid.url}/v1/files`, { method: 'POST', body: form, headers: { authorization: `Bearer ${grid.key}` } });
  assert.equal(response.status, 200);
  return /** @type {any} */ (await response.json());
}

test('half an upload leaves no file behind', async () => {
  const whole = await upload(linesOf(3));
  const before = readdirSync(folder());
  for (const inline of [false, true]) {
    const post = request(`${grid.url}${inline ? '/v1/batches' : '/v1/files'}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${grid.key}`, 'content-length': 10_000_000,
        'content-type': inline ? 'application/json' : 'multipart/form-data; boundary=mark',
      },
    });
    const failed = once(post, 'error');
    post.write(inline ? '{"requests":[' : '--mark\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n');
    post.write(inline ? '{"prompt":"Once upon a time"},'.repeat(50_000).slice(0, 1_400_000) : linesOf(10_000).join(''));
    await until(() => parts().some((name) => statSync(path.join(folder(), name)).size > 100_000), 'half an upload', 20_000);
    await restart();
    await failed;
    assert.deepEqual(readdirSync(folder()), before);
  }
  assert.deepEqual((await grid.ask('/v1/files')).data.map((/** @type {any} */ f) => f.id), [whole.id]);
  assert.equal((await grid.ask('/v1/batches')).data.length, 0);
});

test('a server that starts leaves alone what another one is writing', async () => {
  const post = request(`${grid.url}/v1/files`, {
    method: 'POST',
    headers: { authorization: `Bearer ${grid.key}`, 'content-length': 10_000_000, 'content-type': 'multipart/form-data; boundary=mark' },
  });
  const failed = once(post, 'error');
  post.write('--mark\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n');
  post.write(linesOf(1000).join(''));
  const [name] = await until(() => (parts().length ? parts() : null), 'upload', 10_000);
  const second = await Grid.start({ args: ['--no-referee', '--files', folder()] });
  assert.deepEqual(parts(), [name]);
  await second.stop();
  post.destroy(new Error('enough'));
  await failed;
  await until(() => parts().length === 0, 'end of the upload', 10_000);
});

test('killed while a file is read in and a request waits, it loses no line', async () => {
  const n = 4000;
  const { id: input_file_id } = await upload(linesOf(n));
  const { id } = await grid.ask('/v1/batches', { input_file_id, endpoint: '/v1/completions', completion_window: '24h' });
  const asked = grid.ask('/v1/completions', { prompt: 'Once upon a time', max_tokens: 4 }).then(() => 'answered', () => 'cut');
  const waiting = async () => (await grid.ask('/v1/stats')).queued;
  /** @returns {Promise<number>} */
  const queued = async () => (await grid.ask(`/v1/batches/${id}`)).synapse.queued;
  const seen = await until(queued, 'first lines', 20_000);
  assert.ok(seen < n, 'it was read in too fast to be killed half-way');
  await restart();
  assert.equal(await asked, 'cut');
  await until(async () => (await queued()) >= n, 'all lines', 30_000);
  // Each line once; and the lease of the request that nobody waits for passes.
  await until(async () => (await waiting()) === n, 'end of the request', 40_000);
  assert.equal(await queued(), n);
  const batch = await grid.ask(`/v1/batches/${id}`);
  assert.deepEqual([batch.status, batch.request_counts], ['in_progress', { total: n, completed: 0, failed: 0 }]);
  await grid.ask(`/v1/batches/${id}/cancel`, {});
});
