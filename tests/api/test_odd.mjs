// test_odd.mjs - requests that are odd in every way, at random from a seed:
// queries, forms, JSON Lines, JSON bodies and heads. Each is answered as HTTP,
// with an error that has OpenAI's shape or a success, or its connection ends;
// the process goes on, with no descriptor more.
//
//   ODD_ROUNDS (40) and ODD_SEED (by the clock) repeat or prolong a run.
// @ts-check

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';

import { Grid, until } from '../grid/grid.mjs';

const ROUNDS = Number(process.env.ODD_ROUNDS ?? 40), SEED = Number(process.env.ODD_SEED ?? Date.now() % 1e6);

/** @type {Grid} */
let grid;
/** @type {number | undefined} */
let pid;

before(async () => {
  grid = await Grid.start({ args: ['--no-referee', '--max-body', '300000', '--read-ms', '500'] });
  pid = grid.server?.pid;
});
after(async () => assert.deepEqual(await grid?.stop(), []));

// mulberry32, so that a seed repeats a run
let state = SEED;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
/** @param {number} n */
const below = (n) => Math.floor(random() * n);
/** @template T @param {T[]} list @returns {T} */
const oneOf = (list) => list[below(list.length)];

const SCRAPS = ['', '\0', '\r\n', '\n', '"', '\\', '{', '}', '[', ']', ',', ':', '&', '=', '%', '%zz', '%00', '%ff', '+', '--', '--bound', '--bound--',
  '\xff', '\xc3\x28', '\xed\xa0\x80', '\ud83d', '1e999', '-0', '18446744073709551616', 'NaN', 'null', 'true', '{"a":', '[['.repeat(3000),
  '\\ud800', '\\u0000', 'x'.repeat(70_000), ' '.repeat(500), 'Content-Disposition: form-data; name=', '; filename="', '"stop":[""]'];

/** Change bytes of a text in some places. @param {Buffer} text @param {number} [times] */
function spoil(text, times = below(4)) {
  for (let i = 0; i < times; i++) {
    const at = below(text.length + 1), to = Math.min(text.length, at + (random() < 0.5 ? 0 : below(40)));
    const part = random() < 0.7 ? Buffer.from(oneOf(SCRAPS), 'latin1') : random() < 0.5
      ? text.subarray(below(text.length), below(text.length))
      : Buffer.from([below(256)]);
    text = Buffer.concat([text.subarray(0, at), part, text.subarray(to)]);
  }
  return text;
}

/** @param {string} text */
const bytes = (text) => Buffer.from(text, 'latin1');
const request = () => oneOf([
  { prompt: 'Once', max_tokens: 3, stop: ['a'], logit_bias: { 5: 1 }, n: 2, logprobs: 1, stream: random() < 0.3 },
  { messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }], top_logprobs: 2, logprobs: true },
  { prompt: 'x', temperature: 0.5, top_p: 0.5, top_k: 3, seed: -1, presence_penalty: 1, user: 'u', stream_options: { include_usage: true } },
]);
const line = () => JSON.stringify({ custom_id: `c${below(3)}`, method: 'POST', url: '/v1/completions', body: request() });
const lines = () => Array.from({ length: 1 + below(5) }, line).join('\n');

/** What is sent: method, path, content type and body, each possibly spoilt.
 * @returns {[string, Buffer, string, Buffer]} */
function odd() {
  const kind = below(6);
  const id = oneOf(['batch_x', 'file-x', 'all-batch_x', 'x'.repeat(255), '%2e%2e', '..', '\xff', '']);
  if (kind === 0) {
    const path = oneOf(['/v1/batches', '/v1/files', `/v1/batches/${id}/results`, `/v1/batches/${id}/callbacks`, '/v1/leaderboard', `/v1/files/${id}/content`]);
    return ['GET', spoil(bytes(`${path}?limit=${below(2000)}&after=${id}&order=asc&purpose=batch&offset=3`)), '', Buffer.alloc(0)];
  }
  if (kind === 1) {
    const form = `--bound\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--bound\r\nContent-Disposition: form-data; ` +
      `name="file"; filename="a.jsonl"\r\nContent-Type: application/jsonl\r\n\r\n${lines()}\r\n--bound\r\nContent-Disposition: form-data; ` +
      'name="expires_after[seconds]"\r\n\r\n3600\r\n--bound--\r\n';
    return ['POST', bytes('/v1/files'), spoil(bytes('multipart/form-data; boundary=bound'), below(8) ? 0 : 1).toString('latin1').replace(/[\r\n\0]/g, ''), spoil(bytes(form))];
  }
  if (kind === 2) {
    const batch = { requests: Array.from({ length: 1 + below(4) }, request), metadata: { a: 'b' }, completion_window: '24h', callback_url: 'http://127.0.0.1:1/', redundancy: 2 };
    return ['POST', bytes('/v1/batches'), 'application/json', spoil(bytes(JSON.stringify(batch)))];
  }
  if (kind === 3)
    return ['POST', bytes(`/v1/batches/${id}/${oneOf(['cancel', 'callbacks/redeliver', 'callbacks/secret'])}`), 'application/json', spoil(bytes('{"event_id":"evt_x"}'))];
  if (kind === 4) return [oneOf(['DELETE', 'GET', 'HEAD', 'PUT', 'OPTIONS', 'BREW']), spoil(bytes(`/v1/files/${id}`)), '', Buffer.alloc(0)];
  // Not one that is right: it would wait for somebody to compute it.
  return ['POST', bytes(oneOf(['/v1/completions', '/v1/chat/completions'])), 'application/json', spoil(bytes(JSON.stringify({ ...request(), top_p: 7 })))];
}

/** Send bytes, and give what comes until the connection ends. @param {Buffer} text */
async function send(text) {
  const socket = connect(grid.port, '127.0.0.1');
  /** @type {Buffer[]} */
  const got = [];
  socket.on('data', (part) => got.push(part));
  socket.on('error', () => {});
  for (let at = 0; at < text.length;) { // in a few pieces
    const to = Math.min(text.length, at + 1 + below(text.length));
    socket.write(text.subarray(at, to));
    at = to;
  }
  const late = setTimeout(() => socket.destroy(), 1000);
  await new Promise((resolve) => socket.on('close', resolve));
  clearTimeout(late);
  return Buffer.concat(got).toString('latin1');
}

const openFiles = () => readdirSync(`/proc/${pid}/fd`).length;

/** @param {string} answer @param {string} what */
function proper(answer, what) {
  if (!answer) return 0; // cut off: it was no HTTP, too slow, or it waits for a volunteer
  const [head, ...rest] = answer.split('\r\n\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? assert.fail(`${what}: no HTTP: ${head.slice(0, 200)}`));
  assert.ok(status < 500 || status === 503 || status === 501 || status === 505, `${what}: ${answer.slice(0, 500)}`);
  if (status >= 400 && /content-type: application\/json/i.test(head) && rest.join('')) {
    const { error } = JSON.parse(Buffer.from(rest.join('\r\n\r\n'), 'latin1').toString());
    assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code'], what);
    assert.ok(error.message.length > 5, what);
  }
  return status;
}

test(`nothing that is sent ends the process (ODD_SEED=${SEED})`, async () => {
  await grid.ask('/v1/stats');
  const opened = openFiles();
  /** @type {Map<number, number>} */
  const statuses = new Map();
  for (let round = 0; round < ROUNDS; round++) {
    const sent = Array.from({ length: 16 }, () => {
      const [method, path, type, body] = odd();
      const lying = below(20) === 0 ? below(300) : 0;
      const head = `${method} ${path.toString('latin1')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${grid.key}\r\n${type ? `Content-Type: ${type}\r\n` : ''}` +
        `${body.length || method === 'POST' ? `Content-Length: ${body.length + lying}\r\n` : ''}Connection: close\r\n`;
      return Buffer.concat([below(15) ? bytes(`${head}\r\n`) : spoil(bytes(`${head}\r\n`), 1), body]);
    });
    const answers = await Promise.all(sent.map(send));
    for (const [i, answer] of answers.entries()) {
      const status = proper(answer, `round ${round}: ${JSON.stringify(sent[i].toString('latin1').slice(0, 2000))}`);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    assert.equal(grid.server?.exitCode, null, `it ended in round ${round}: ${readFileSync(grid.serverLog, 'utf8').slice(-3000)}`);
  }
  assert.ok((statuses.get(200) ?? 0) > 0 && (statuses.get(400) ?? 0) > 0, JSON.stringify([...statuses]));
  assert.equal((await fetch(`${grid.url}/healthz`)).status, 200);
  await until(() => openFiles() <= opened + 1, `return to ${opened} descriptors from ${openFiles()}`, 20_000);
  assert.doesNotMatch(readFileSync(grid.serverLog, 'utf8'), /AddressSanitizer|runtime error|LeakSanitizer/);
});

test('what was taken of it comes to its end', async () => {
  const { data } = await grid.ask('/v1/batches?limit=100');
  assert.ok(data.length > 0);
  for (const { id, status } of data)
    if (['validating', 'in_progress'].includes(status)) await grid.ask(`/v1/batches/${id}/cancel`, {}).catch(() => {});
  await until(async () => (await grid.ask('/v1/batches?limit=100')).data.every((/** @type {any} */ b) =>
    ['completed', 'failed', 'cancelled'].includes(b.status)), 'end of all batches', 60_000);
});
