// test_keys.mjs - what a key may do: scopes, quotas, revoking, and the verb that
// makes keys.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Grid, sleep, synapse, synapseOk, until } from '../grid/grid.mjs';

/** @type {Grid} */
let grid;

before(async () => {
  grid = await Grid.start({ args: ['--no-referee', '--alias', 'small=tales-gpt2', '--retention', '3'] });
});
after(async () => assert.deepEqual(await grid?.stop(), []));

/** Make a key. @param {string[]} args @returns {Promise<string>} */
async function keyOf(...args) {
  const { out } = await synapseOk(['keys', 'create', '--data', grid.data, ...args]);
  return out.trim().split('\n').at(-1) ?? '';
}

/** @param {string} key @param {string} method @param {string} route @param {any} [body] */
async function call(key, method, route, body) {
  const form = body instanceof FormData;
  /** @type {Record<string, string>} */
  const headers = { authorization: `Bearer ${key}` };
  if (!form) headers['content-type'] = 'application/json';
  const response = await fetch(grid.url + route, {
    method, headers, body: body === undefined || form ? body : JSON.stringify(body), signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  return { status: response.status, text, retry: response.headers.get('retry-after'), error: text.startsWith('{"error"') ? JSON.parse(text).error : null };
}

/** @param {number} bytes */
function upload(bytes) {
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new File([`{"custom_id":"${'x'.repeat(bytes - 17)}"}\n`], 'in.jsonl'));
  return form;
}

const batch = (n = 1) => ({ requests: Array.from({ length: n }, (_, i) => ({ custom_id: `r${i}`, prompt: 'Once', max_tokens: 4, temperature: 0 })) });

// Every route of clients, and the scope it needs.
/** @type {[string, string, 'submit' | 'read' | 'operate'][]} */
const ROUTES = [
  ['POST', '/v1/files', 'submit'],
  ['GET', '/v1/files', 'read'],
  ['GET', '/v1/files/file-none', 'read'],
  ['GET', '/v1/files/file-none/content', 'read'],
  ['DELETE', '/v1/files/file-none', 'submit'],
  ['POST', '/v1/batches', 'submit'],
  ['GET', '/v1/batches', 'read'],
  ['GET', '/v1/batches/batch_none', 'read'],
  ['POST', '/v1/batches/batch_none/cancel', 'submit'],
  ['GET', '/v1/batches/batch_none/results', 'read'],
  ['POST', '/v1/completions', 'submit'],
  ['POST', '/v1/chat/completions', 'submit'],
  ['GET', '/v1/batches/batch_none/callbacks', 'read'],
  ['POST', '/v1/batches/batch_none/callbacks/redeliver', 'submit'],
  ['POST', '/v1/batches/batch_none/callbacks/secret', 'submit'],
  ['GET', '/v1/keys', 'operate'],
  ['GET', '/v1/overview', 'operate'],
  ['POST', '/v1/plan', 'operate'],
];

test('each route needs its scope, and the refusal names it', async () => {
  /** @type {Record<string, string>} */
  const keys = {};
  for (const scope of ['submit', 'read', 'operate']) keys[scope] = await keyOf('--scopes', scope);
  for (const [method, route, scope] of ROUTES) {
    for (const [has, key] of Object.entries(keys)) {
      const { status, error } = await call(key, method, route, method === 'POST' ? {} : undefined);
      if (has === scope) {
        assert.ok(![401, 403].includes(status), `${method} ${route} with ${has}: ${status}`);
      } else {
        assert.equal(status, 403, `${method} ${route} with ${has}`);
        assert.equal(error.type, 'permission_error');
        assert.equal(error.code, 'missing_scope');
        assert.match(error.message, new RegExp(`scope ${scope}\\b`));
      }
    }
    assert.equal((await call('sk-syn-none', method, route, method === 'POST' ? {} : undefined)).status, 401);
  }
});

test('a new key submits and reads, and does not operate', async () => {
  const key = await keyOf();
  const made = await call(key, 'POST', '/v1/batches', batch());
  assert.equal(made.status, 200, made.text);
  assert.equal((await call(key, 'GET', '/v1/batches')).status, 200);
  assert.equal((await call(key, 'GET', '/v1/keys')).status, 403);
  await call(key, 'POST', `/v1/batches/${JSON.parse(made.text).id}/cancel`);
});

test('the quota of open requests is refused by name, with what is used', async () => {
  const key = await keyOf('--requests', '5');
  const first = await call(key, 'POST', '/v1/batches', batch(3));
  assert.equal(first.status, 200, first.text);
  for (const [route, body] of /** @type {[string, any][]} */ ([
    ['/v1/batches', batch(3)],
    ['/v1/completions', { prompt: 'Once', n: 3, max_tokens: 2 }],
  ])) {
    const { status, error, retry } = await call(key, 'POST', route, body);
    assert.equal(status, 429, route);
    assert.equal(error.code, 'quota_exceeded');
    assert.equal(error.param, 'requests_queued');
    assert.match(error.message, /requests_queued .*\(3 of 5\).*try again in \d+ s/);
    assert.ok(Number(retry) > 0);
  }
  const never = await call(key, 'POST', '/v1/batches', batch(6));
  assert.equal(never.status, 400);
  assert.equal(never.error.param, 'requests_queued');
  assert.equal((await call(key, 'POST', '/v1/batches', batch(2))).status, 200);
  // What is cancelled does not count any more.
  for (const { id } of JSON.parse((await call(key, 'GET', '/v1/batches')).text).data)
    await call(key, 'POST', `/v1/batches/${id}/cancel`);
  await until(async () => {
    const made = await call(key, 'POST', '/v1/batches', batch(5));
    assert.ok([200, 429].includes(made.status), made.text);
    if (made.status === 200) await call(key, 'POST', `/v1/batches/${JSON.parse(made.text).id}/cancel`);
    return made.status === 200;
  }, 'room in the quota', 15_000);
});

test('the quota of stored bytes is refused by name, and leaves no file', async () => {
  const key = await keyOf('--bytes', '2K');
  const first = await call(key, 'POST', '/v1/files', upload(1500));
  assert.equal(first.status, 200, first.text);
  const files = () => readdirSync(path.join(grid.data, 'files')).length;
  const before = files();
  const { status, error, retry } = await call(key, 'POST', '/v1/files', upload(1000));
  assert.equal(files(), before);
  assert.equal(status, 429);
  assert.equal(error.param, 'bytes_stored');
  assert.match(error.message, /\(1500 of 2048\)/);
  assert.ok(Number(retry) > 2 * 86400); // when the first one goes
  assert.equal((await call(key, 'POST', '/v1/files', upload(3000))).status, 400);
  assert.equal((await call(key, 'DELETE', `/v1/files/${JSON.parse(first.text).id}`)).status, 200);
  assert.equal((await call(key, 'POST', '/v1/files', upload(1000))).status, 200);
});

test('the quota of tokens ends with the day', async () => {
  const key = await keyOf('--tokens', '3');
  const ada = grid.volunteer('Ada'), grace = grid.volunteer('Grace');
  const answer = await call(key, 'POST', '/v1/completions', { prompt: 'Once upon a time', max_tokens: 4, temperature: 0 });
  assert.equal(answer.status, 200, answer.text);
  const used = JSON.parse(answer.text).usage.total_tokens;
  const { status, error, retry } = await call(key, 'POST', '/v1/batches', batch());
  assert.equal(status, 429);
  assert.equal(error.param, 'tokens_per_day');
  assert.ok(error.message.includes(`(${used} of 3)`), error.message);
  const left = 86400 - Math.floor(Date.now() / 1000) % 86400;
  assert.ok(Math.abs(Number(retry) - left) < 60 || Number(retry) > 86000, `${retry} and ${left}`);
  await Promise.all([ada.stop(), grace.stop()]);
});

test('a long file is read in by and by, and holds up no other key', async () => {
  const n = 14_000;
  const [one, other] = [await keyOf(), await keyOf()];
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new File(Array.from({ length: n }, (_, i) =>
    `{"custom_id":"l${i}","method":"POST","url":"/v1/completions","body":{"model":"tales-gpt2","prompt":"Once","max_tokens":2}}\n`), 'long.jsonl'));
  const { id: input_file_id } = JSON.parse((await call(one, 'POST', '/v1/files', form)).text);
  const long = JSON.parse((await call(one, 'POST', '/v1/batches', { input_file_id, endpoint: '/v1/completions', completion_window: '24h' })).text);
  const short = JSON.parse((await call(other, 'POST', '/v1/batches', batch(10))).text);
  /** @param {string} key @param {string} id */
  const queued = async (key, id) => JSON.parse((await call(key, 'GET', `/v1/batches/${id}`)).text).synapse.queued;
  await until(async () => (await queued(other, short.id)) === 10, 'ten lines in the queue', 30_000);
  assert.ok((await queued(one, long.id)) < n / 2, 'the long file was read first');
  await until(async () => (await queued(one, long.id)) >= 8192, 'full window', 60_000);
  await sleep(300);
  const held = await queued(one, long.id);
  assert.ok(held < 8192 + 256, `${held} lines are queued`);
  assert.equal((await call(one, 'POST', `/v1/batches/${long.id}/cancel`)).status, 200);
  assert.equal((await call(other, 'POST', `/v1/batches/${short.id}/cancel`)).status, 200);
});

test('an operator sees the keys, their rights and what they use', async () => {
  const operator = await keyOf('--scopes', 'operate,read', '--name', 'ops', '--priority', '50', '--requests', '7', '--bytes', '1M', '--tokens', '9');
  const { data } = JSON.parse((await call(operator, 'GET', '/v1/keys')).text);
  const mine = data.find((/** @type {any} */ k) => k.name === 'ops');
  assert.deepEqual(mine.scopes, ['read', 'operate']);
  assert.equal(mine.priority, 50);
  assert.deepEqual(mine.quotas, {
    requests_queued: { used: 0, limit: 7 }, bytes_stored: { used: 0, limit: 1 << 20 }, tokens_per_day: { used: 0, limit: 9 },
  });
  assert.equal(mine.hint, operator.slice(-4));
  assert.ok(!JSON.stringify(data).includes(operator));
  // Redis has its hash only, and nothing of it is in the log.
  const folder = path.join(grid.data, 'appendonlydir');
  for (const file of [...readdirSync(folder).map((name) => path.join(folder, name)), grid.serverLog]) {
    const bytes = readFileSync(file);
    for (const secret of [operator, operator.slice('sk-syn-'.length)]) assert.ok(!bytes.includes(secret), file);
  }
  assert.ok(readdirSync(folder).some((name) => readFileSync(path.join(folder, name)).includes(mine.id)));
  const { out } = await synapseOk(['keys', 'list', '--data', grid.data]);
  assert.match(out, new RegExp(`^${mine.id} .* read,operate {2}priority 50 .*requests 0/7 .* valid +ops$`, 'm'));
});

test('a wrong option of synapse keys is named', async () => {
  /** @type {[string[], RegExp][]} */
  const cases = [
    [['--scopes', 'submit,write'], /--scopes/],
    [['--scopes', ''], /--scopes/],
    [['--scopes', 'read,read'], /--scopes/],
    [['--scopes', 'read,'], /--scopes/],
    [['--priority', '0'], /--priority/],
    [['--priority', '101'], /--priority/],
    [['--requests', '0'], /--requests/],
    [['--requests', 'many'], /--requests/],
    [['--bytes', '-1'], /--bytes/],
    [['--tokens', '1e3'], /--tokens/],
    [['--colour'], /unrecognized option/],
  ];
  for (const [args, text] of cases) {
    const { code, err } = await synapse(['keys', 'create', '--data', grid.data, ...args]);
    assert.equal(code, 2, args.join(' '));
    assert.match(err, text);
  }
});

test('an alias is a name as good as the model', async () => {
  const { data } = JSON.parse((await call(grid.key, 'GET', '/v1/models')).text);
  assert.deepEqual(data.map((/** @type {any} */ m) => [m.id, m.synapse.alias_of]), [['tales-gpt2', null], ['small', 'tales-gpt2']]);
  const made = await call(grid.key, 'POST', '/v1/batches', { model: 'small', requests: [{ custom_id: 'a', prompt: 'Once', model: 'small' }] });
  assert.equal(made.status, 200, made.text);
  assert.equal(JSON.parse(made.text).model, 'tales-gpt2');
  await call(grid.key, 'POST', `/v1/batches/${JSON.parse(made.text).id}/cancel`);
  assert.equal((await call(grid.key, 'GET', '/v1/models/small/manifest.json')).status, 200);
  assert.deepEqual(JSON.parse((await call(grid.key, 'GET', '/v1/models/small')).text), data[1]);
});

test('an error about a model lists those that are served', async () => {
  /** @type {[string, string, any][]} */
  const wrong = [
    ['POST', '/v1/batches', { model: 'none', requests: [{ prompt: 'x' }] }],
    ['POST', '/v1/completions', { model: 'none', prompt: 'x' }],
    ['POST', '/v1/chat/completions', { model: 'none', messages: [{ role: 'user', content: 'x' }] }],
    ['GET', '/v1/models/none', undefined], ['GET', '/v1/models/none/manifest.json', undefined],
    ['POST', '/v1/plan', { model: 'none', path: null }],
  ];
  const key = await keyOf('--scopes', 'submit,read,operate');
  for (const [method, route, body] of wrong) {
    const { status, error } = await call(key, method, route, body);
    assert.ok([400, 404].includes(status));
    assert.equal(error.code, 'model_not_found');
    assert.equal(error.param, 'model');
    assert.match(error.message, /no (such )?model.* has tales-gpt2, small/, route);
  }
});

test('files and batches are kept for --retention', async () => {
  const key = await keyOf();
  const file = JSON.parse((await call(key, 'POST', '/v1/files', upload(100))).text);
  assert.equal(file.expires_at - file.created_at, 3 * 86400);
  // A batch, from its end, with its files; what it kept for its lines is gone at once.
  const { id } = JSON.parse((await call(key, 'POST', '/v1/batches', { requests: [{ prompt: '' }] })).text);
  const done = await until(async () => {
    const now = JSON.parse((await call(key, 'GET', `/v1/batches/${id}`)).text);
    return now.status === 'completed' ? now : null;
  }, 'end of the batch', 15_000);
  for (const one of [done.input_file_id, done.error_file_id]) {
    const { created_at, expires_at } = JSON.parse((await call(key, 'GET', `/v1/files/${one}`)).text);
    assert.equal(expires_at - created_at, 3 * 86400);
  }
  /** @param {string[]} args */
  const redis = (...args) => execFileSync('redis-cli', ['-s', path.join(grid.data, 'redis.sock'), ...args]).toString().trim();
  const left = Number(redis('PTTL', `syn:{0}:b:${id}`));
  assert.ok(left > 2.99 * 86400_000 && left <= 3 * 86400_000, `${left} ms`);
  assert.equal(redis('EXISTS', `syn:{0}:b:${id}:res`, `syn:{0}:b:${id}:g`, `syn:{0}:b:${id}:s`), '0');
  // Past that, it is not there any more, and not in the list either.
  redis('PEXPIRE', `syn:{0}:b:${id}`, '1');
  await until(async () => (await call(key, 'GET', `/v1/batches/${id}`)).status === 404, 'end of the record', 5000);
  assert.deepEqual(JSON.parse((await call(key, 'GET', '/v1/batches')).text).data, []);
});

test('a batch tells when it will be done, once there is a rate', async () => {
  const volunteers = ['Ada', 'Grace'].map((name) => grid.volunteer(`${name}-eta`));
  const requests = Array.from({ length: 300 }, (_, i) => ({ custom_id: `r${i}`, prompt: 'Once upon a time', max_tokens: 32, temperature: 0 }));
  const { id, eta } = JSON.parse((await call(grid.key, 'POST', '/v1/batches', { requests })).text);
  assert.equal(eta, null);
  let told = 0;
  await until(async () => {
    const now = await grid.ask(`/v1/batches/${id}`);
    if (now.eta) {
      told++;
      assert.ok(now.eta.p50 >= 0 && now.eta.p90 > now.eta.p50, JSON.stringify(now.eta));
    }
    return now.status === 'completed';
  }, 'end of the batch', 120_000);
  assert.ok(told > 0, 'it told nothing');
  assert.equal((await grid.ask(`/v1/batches/${id}`)).eta, null);
  await Promise.all(volunteers.map((volunteer) => volunteer.stop()));
});
