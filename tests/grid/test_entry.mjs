// test_entry.mjs - new accounts of an address block that opened many: they pay
// with a proof of work, natively and in a browser, and nothing else lets them
// in. Blocks are 127.x.y.0/24, which this grid takes for ordinary ones.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Ajv2020 } from 'ajv/dist/2020.js';
import SwaggerParser from '@apidevtools/swagger-parser';

import { launchChromium } from '../../ops/lib/browsers.mjs';
import { Grid, ROOT, answerOf, runLocal, until } from './grid.mjs';

const BITS = 12, FREE = 1, MOST = 6;
/** @type {Grid} */
let grid;
/** @type {(value: any) => void} fails if it is not as the specification says */
let isPayFirst;

before(async () => {
  grid = await Grid.start({ args: ['--same-place', '10.0.0.0/8', '--new-accounts', String(FREE),
    '--new-accounts-max', String(MOST), '--new-bits', String(BITS), '--new-volunteers', '2'] });
  const ajv = new Ajv2020({ strict: false });
  ajv.addSchema(await SwaggerParser.parse(path.join(ROOT, 'api/openapi.yaml')), 'api');
  const check = ajv.getSchema('api#/components/schemas/PayFirst');
  isPayFirst = (value) => assert.ok(check?.(value), ajv.errorsText(check?.errors));
});
after(async () => assert.deepEqual(await grid?.stop(), []));

const newAccount = () => randomBytes(32).toString('hex');

/** Join from an address. @param {string} from @param {string} account @param {any} [proof]
 * @returns {Promise<{status: number | undefined, headers: http.IncomingHttpHeaders, body: any}>} */
async function join(from, account, proof) {
  const request = http.request(`${grid.url}/v1/volunteers`, {
    method: 'POST', localAddress: from, headers: { 'content-type': 'application/json' }, agent: false,
  });
  request.end(JSON.stringify({ account, name: 'new', backend: 'native-ref', kernel_class: 'exact', memory: 1 << 30,
    threads: 1, proof_of_work: proof }));
  const [response] = await once(request, 'response');
  const parts = [];
  for await (const part of response) parts.push(part);
  const body = JSON.parse(Buffer.concat(parts).toString());
  if (response.statusCode === 428) isPayFirst(body);
  return { status: response.statusCode, headers: response.headers, body };
}

/** @param {string} challenge @param {string} nonce */
function zeroBits(challenge, nonce) {
  const seed = createHash('sha256').update(challenge).digest();
  const hash = createHash('sha256').update(seed).update(Buffer.from(nonce, 'hex')).digest('hex');
  return BigInt(`0x1${hash}`).toString(2).slice(1).indexOf('1');
}

/** A nonce that pays exactly so many bits or more, found without the project's code.
 * @param {string} challenge @param {(bits: number) => boolean} fits */
function nonceThat(challenge, fits) {
  for (let i = 0; ; i++) {
    const nonce = i.toString(16).padStart(16, '0');
    if (fits(zeroBits(challenge, nonce))) return nonce;
  }
}

/** @param {{challenge: string, bits: number}} asked */
const solve = ({ challenge, bits }) => ({ challenge, nonce: nonceThat(challenge, (n) => n >= bits) });

/** Use up what costs nothing. @param {string} from */
async function fill(from) {
  for (let i = 0; i < FREE; i++) assert.equal((await join(from, newAccount())).status, 201);
}

test('the first of a block enter, the others pay; each challenge is for one account and one block', async () => {
  const from = '127.10.1.1', account = newAccount(), other = newAccount();
  await fill(from);
  const first = await join(from, account);
  assert.equal(first.status, 428);
  assert.equal(first.body.error.code, 'proof_of_work_required');
  assert.equal(first.body.error.param, 'proof_of_work');
  assert.equal(first.body.proof_of_work.bits, BITS);
  const asked = first.body.proof_of_work, proof = solve(asked);

  const foreign = await join('127.10.1.9', other, proof); // the same block, another account
  assert.equal(foreign.status, 428);
  assert.equal(foreign.body.error.code, 'proof_of_work_foreign');
  assert.notEqual(foreign.body.proof_of_work.challenge, asked.challenge);
  await fill('127.10.2.1');
  assert.equal((await join('127.10.2.1', account, proof)).body.error.code, 'proof_of_work_foreign');

  assert.equal((await join('127.10.1.9', account, proof)).status, 201);
  assert.equal((await join(from, account, proof)).status, 201); // it is known now; nothing is opened
  assert.equal((await join(from, other, proof)).body.error.code, 'proof_of_work_foreign'); // nor can it be replayed
  assert.equal((await join('127.10.3.1', newAccount())).status, 201); // another block
});

test('what is no solution is refused, and says which field is wrong', async () => {
  const from = '127.11.1.1', account = newAccount();
  await fill(from);
  const asked = (await join(from, account)).body.proof_of_work;
  const short = nonceThat(asked.challenge, (n) => n === asked.bits - 1);
  const forged = `00${asked.challenge.slice(2)}`; // of no bits
  for (const [proof, param] of /** @type {[any, string][]} */ ([
    ['text', 'proof_of_work'],
    [[], 'proof_of_work'],
    [{}, 'proof_of_work.challenge'],
    [{ challenge: asked.challenge }, 'proof_of_work.nonce'],
    [{ challenge: 7, nonce: short }, 'proof_of_work.challenge'],
    [{ challenge: `${asked.challenge}0`, nonce: short }, 'proof_of_work.challenge'],
    [{ challenge: asked.challenge.slice(1), nonce: short }, 'proof_of_work.challenge'],
    [{ challenge: `x${asked.challenge.slice(1)}`, nonce: short }, 'proof_of_work.challenge'],
    [{ challenge: asked.challenge, nonce: 'zz' }, 'proof_of_work.nonce'],
    [{ challenge: asked.challenge, nonce: 5 }, 'proof_of_work.nonce'],
    [{ challenge: asked.challenge, nonce: short }, 'proof_of_work.nonce'],
  ])) {
    const answer = await join(from, account, proof);
    assert.equal(answer.status, 400, JSON.stringify(proof));
    assert.equal(answer.body.error.param, param, JSON.stringify(proof));
    assert.equal(answer.body.error.code, 'invalid_field');
  }
  const fake = await join(from, account, { challenge: forged, nonce: '0'.repeat(16) });
  assert.equal(fake.body.error.code, 'proof_of_work_foreign');
  assert.equal((await join(from, account, solve(asked))).status, 201); // nothing was lost
});

test('a challenge outlives the server; an expired one does not count', async () => {
  const from = '127.12.1.1', account = newAccount();
  await fill(from);
  const asked = (await join(from, account)).body.proof_of_work;
  grid.server?.kill('SIGKILL');
  await once(/** @type {any} */ (grid.server), 'exit');
  await grid.startServer();
  const answer = await until(async () => {
    const tried = await join(from, account, solve(asked));
    return tried.status === 503 ? null : tried; // Redis is not there yet
  }, 'server that has its key');
  assert.equal(answer.status, 201);

  // an expired one, signed as only the grid can
  const late = newAccount();
  const secret = execFileSync('redis-cli', ['-s', path.join(grid.data, 'redis.sock'), 'GET', 'syn:{0}:sign'],
    { encoding: 'buffer' }).subarray(0, 32);
  const key = createHash('sha256').update('synapse toll key 1\0').update(secret).digest();
  const head = Buffer.alloc(25, 7);
  head[0] = BITS;
  const make = (/** @type {number} */ until) => {
    head.writeBigUInt64LE(BigInt(until), 1);
    const mark = createHmac('sha256', key).update(head)
      .update(createHash('sha256').update(Buffer.from(late, 'hex')).digest()).update('127.12.1.0/24').digest();
    return { challenge: Buffer.concat([head, mark]).toString('hex'), bits: BITS };
  };
  const expired = await join(from, late, solve(make(Date.now() - 1000)));
  assert.equal(expired.status, 428);
  assert.equal(expired.body.error.code, 'proof_of_work_expired');
  assert.ok(expired.body.proof_of_work.expires_at > Date.now() / 1000 + 100);
  assert.equal((await join(from, late, solve(make(Date.now() + 60_000)))).status, 201);
});

test('past a limit a block opens no more for a while; those that it has are served', async () => {
  const from = '127.13.1.1', known = newAccount();
  assert.equal((await join(from, known)).status, 201);
  for (let i = 1; i < MOST; i++) {
    const account = newAccount();
    const asked = (await join(from, account)).body.proof_of_work;
    assert.equal((await join(from, account, solve(asked))).status, 201);
  }
  const closed = await join(from, newAccount());
  assert.equal(closed.status, 429);
  assert.equal(closed.body.error.code, 'too_many_accounts');
  const wait = Number(closed.headers['retry-after']);
  assert.ok(wait > 3000 && wait <= 3601, `${wait}`);
  assert.equal((await join(from, known)).status, 201);
  const crowded = await join(from, known); // its third volunteer
  assert.equal(crowded.status, 429);
  assert.equal(crowded.body.error.code, 'too_many_volunteers');
  assert.ok(Number(crowded.headers['retry-after']) > 0);
});

/** A way to the server from another address. @param {string} from */
async function door(from) {
  const sockets = new Set();
  const server = createServer((client) => {
    const out = connect({ port: grid.port, host: '127.0.0.1', localAddress: from });
    for (const [a, b] of [[client, out], [out, client]]) {
      sockets.add(a);
      a.on('error', () => {}).on('close', () => b.destroy()).pipe(b);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const close = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { url: `http://127.0.0.1:${port}`, close };
}

test('a native volunteer and a page pay, and compute', async () => {
  await fill('127.14.1.1');
  await fill('127.15.1.1');
  const native = grid.liar('Native', 'none', ['--from', '127.14.1.2', '--threads', '1']);
  await until(() => /joined as/.test(readFileSync(native.log, 'utf8')), 'volunteer that paid');
  assert.match(readFileSync(native.log, 'utf8'), /proof of work, about 4096 tries[^]*joined as/);

  const way = await door('127.15.1.2');
  const browser = await launchChromium(['--no-proxy-server']);
  try {
    const page = await browser.newPage();
    const answers = /** @type {number[]} */ ([]);
    page.on('response', (r) => void (r.url().endsWith('/v1/volunteers') && answers.push(r.status())));
    await page.addInitScript(() => {
      /** @type {any} */ (window).states = [];
      new MutationObserver(() => {
        const { state } = document.documentElement.dataset;
        if (state === 'paying') /** @type {any} */ (window).states.push(document.querySelector('#detail')?.textContent);
      }).observe(document, { subtree: true, attributes: true });
    });
    await page.goto(`${way.url}/contribute?autostart=1&name=Page&gpu=never`);
    await until(async () => (await grid.ask('/v1/stats')).volunteers.some((/** @type {any} */ v) => v.name === 'Page'), 'page that paid');
    await until(() => answers.length === 2, 'second answer');
    assert.deepEqual(answers, [428, 201]);
    const told = await page.evaluate(() => /** @type {any} */ (window).states);
    assert.match(told[0], /Many new devices came from this network address lately.* 0 tries of about 4,096/);
    const request = { custom_id: 'a', prompt: 'Once upon a time', max_tokens: 8, temperature: 0 };
    const lines = await grid.compute([request, { ...request, custom_id: 'b', prompt: 'The wolf' }]);
    assert.deepEqual(answerOf(lines.get('a')).tokens, (await runLocal(request)).tokens);
  } finally {
    await browser.close();
    way.close();
  }
});
