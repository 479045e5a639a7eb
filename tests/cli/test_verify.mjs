// test_verify.mjs - receipts of a real grid, and `synapse verify` on them, on
// lines that were tampered with, and with an independent check of a signature.
// @ts-check

import assert from 'node:assert/strict';
import { createHash, createPublicKey, generateKeyPairSync, sign, verify as verifySignature } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Grid, synapse, until } from '../grid/grid.mjs';

/** @type {any[]} */
const requests = [
  { custom_id: 'greedy', prompt: 'Once upon a time', max_tokens: 12, temperature: 0 },
  { custom_id: 'seeded', prompt: 'The wolf', max_tokens: 12, temperature: 0.9, top_p: 0.9, top_k: 50, seed: 7 },
  { custom_id: 'own seed', prompt: 'The wolf', max_tokens: 12, temperature: 1.2 },
  { custom_id: 'penalties', prompt: 'A hen', max_tokens: 12, temperature: 0.8, seed: 3, presence_penalty: 0.5,
    frequency_penalty: 1.5, logit_bias: { 5: 2, 11: -100 } },
  { custom_id: 'stopped', prompt: 'Once upon a time', max_tokens: 40, temperature: 0, stop: [' the', 'a'] },
  { custom_id: 'wrong "é\n\u0001', prompt: 'The king', max_tokens: 4, temperature: 0 },
  { custom_id: 'probs', prompt: 'Once upon a time', max_tokens: 9, temperature: 0.7, seed: 5, logprobs: 3 },
  { custom_id: 'own probs', prompt: 'The wolf', max_tokens: 5, temperature: 0, logprobs: 0 },
  { custom_id: 'cut probs', prompt: 'Once upon a time', max_tokens: 40, temperature: 0, stop: [' the', 'a'], logprobs: 2 },
  { custom_id: 'three', prompt: 'A hen', max_tokens: 6, temperature: 0.9, seed: 40, n: 3, logprobs: 1 },
  { custom_id: 'refused', prompt: 'The king', max_tokens: -1 },
];

/** @type {Grid} */
let grid;
/** @type {any[]} the delivered lines */
let lines;
let key = '';
let files = 0;

/** @param {any} value compact, members sorted. @returns {string} */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value && typeof value === 'object')
    return `{${Object.keys(value).sort().map((k) => `${JSON.stringify(k)}:${canonical(value[k])}`).join(',')}}`;
  return JSON.stringify(value);
}

/** Log-probabilities as their hash is of. @param {any} probs @returns {string} */
const scaled = (probs) => canonical(JSON.parse(JSON.stringify(probs, (_, v) => (typeof v === 'number' ? v * 65536 : v))));

/** @param {any} receipt */
function signedBytes(receipt) {
  const { signature, ...rest } = receipt;
  return Buffer.from(`synapse-receipt-v${receipt.version}\n${canonical(rest)}`);
}

/** @param {string} id */
const line = (id) => structuredClone(lines.find((l) => l.custom_id === id));
/** @param {any} l */
const receiptOf = (l) => l.response.body.synapse.receipt;

/** @param {any[]} some @param {string[]} args */
async function verify(some, ...args) {
  const file = path.join(grid.folder, `results-${++files}.jsonl`);
  writeFileSync(file, some.map((l) => `${JSON.stringify(l)}\n`).join(''));
  return synapse(['verify', file, ...args]);
}

const withModel = () => ['--model', path.join(grid.models, 'tales-gpt2')];

before(async () => {
  grid = await Grid.start();
  grid.volunteer('Ada');
  grid.volunteer('Grace', ['--isa', 'ref']);
  const { id, synapse: told } = await grid.submit(requests, { receipts: true });
  assert.equal(told.receipts, true);
  await grid.finished(id);
  lines = await grid.results(id);
  key = (await grid.ask('/v1/receipts/key')).public_key;
});

after(() => grid?.stop());

test('every answered line holds when it is computed again here', async () => {
  assert.equal(lines.length, requests.length);
  for (const args of [[], ['--isa', 'ref', '--threads', '2'], ['--key', key]]) {
    const run = await verify(lines, ...withModel(), ...args);
    assert.equal(run.code, 0, run.err);
    const tokens = lines.reduce((n, l) => n + (l.response?.body.usage.completion_tokens ?? 0), 0);
    assert.match(run.out, new RegExp(`^10 lines hold, 0 do not, 1 are errors; ${tokens} tokens computed again`));
    assert.equal(run.out.includes(key), !args.includes('--key'));
  }
});

test('a receipt says what was asked and who worked, and its signature holds by another implementation', () => {
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(key, 'base64').toString('base64url') }, format: 'jwk' });
  for (const l of lines.filter((one) => !one.error)) {
    const body = l.response.body;
    for (const r of body.synapse.receipts ?? [])
      assert.ok(verifySignature(null, signedBytes(r), publicKey, Buffer.from(r.signature, 'base64')), l.custom_id);
    const r = receiptOf(l) ?? body.synapse.receipts[0];
    assert.equal(r.version, 2);
    const probs = body.choices[0].logprobs;
    assert.equal(r.sampling.logprobs, requests.find((one) => one.custom_id === l.custom_id).logprobs ?? null);
    assert.equal(r.logprobs_sha256, probs && createHash('sha256').update(scaled(probs)).digest('hex'));
    assert.equal(r.key, key);
    assert.equal(r.custom_id, l.custom_id);
    assert.equal(r.class, 'exact');
    assert.deepEqual(r.tokens, body.synapse.tokens);
    assert.equal(r.prompt_tokens.length, body.usage.prompt_tokens);
    assert.equal(r.finish_reason, body.choices[0].finish_reason);
    assert.ok(r.computed_by.length > 0);
    if (body.synapse.seed !== null) assert.equal(Number(r.sampling.seed), body.synapse.seed);
    for (const check of r.checked_by) assert.equal(typeof check.referee, 'boolean');
    assert.equal(r.checked_by.length > 0, body.synapse.checked_by !== null);
    assert.ok(verifySignature(null, signedBytes(r), publicKey, Buffer.from(r.signature, 'base64')), l.custom_id);
  }
  assert.deepEqual(receiptOf(line('penalties')).sampling.logit_bias, [[5, 131072], [11, -6553600]]);
  assert.equal(receiptOf(line('penalties')).sampling.frequency_q16, 98304);
  assert.equal(receiptOf(line('stopped')).finish_reason, 'stop');
});

test('without receipts asked for there are none', async () => {
  const [plain] = (await grid.compute([requests[0]])).values();
  assert.equal(receiptOf(plain), undefined);
  const run = await verify([plain], ...withModel());
  assert.equal(run.code, 1);
  assert.match(run.err, /line 1: it has no receipt/);
});

/** Sign a changed receipt with a key of our own, as a lying grid would. @param {any} l */
function resign(l) {
  const pair = generateKeyPairSync('ed25519');
  const r = receiptOf(l);
  r.key = Buffer.from(/** @type {string} */ (pair.publicKey.export({ format: 'jwk' }).x), 'base64url').toString('base64');
  r.signature = sign(null, signedBytes(r), pair.privateKey).toString('base64');
  return l;
}

test('lines that were rolled back hold like the others', async () => {
  grid.liar('Liar', 'token', ['--threads', '1']);
  await until(async () => (await grid.ask('/v1/stats')).volunteers.some((/** @type {any} */ v) => v.name === 'Liar'), 'liar');
  let rolledBack = 0;
  for (let round = 0; round < 8 && !rolledBack; round++) {
    const some = Array.from({ length: 12 }, (_, i) => ({ custom_id: `${i}`, prompt: requests[i % 5].prompt, max_tokens: 12,
      temperature: 0.8, seed: 12 * round + i, logprobs: 2 }));
    const { id } = await grid.submit(some, { receipts: true });
    await grid.finished(id);
    const run = await verify(await grid.results(id), ...withModel());
    assert.match(run.out, /^12 lines hold, 0 do not/, run.err);
    rolledBack = (await grid.ask('/v1/stats')).rollbacks;
  }
  assert.ok(rolledBack > 0);
});

test('whatever is changed in a line is found', async () => {
  /** @type {[string, (l: any) => void, RegExp][]} */
  const changes = [
    ['text', (l) => { l.response.body.choices[0].text += '!'; }, /about another text/],
    ['custom_id', (l) => { l.custom_id = 'other'; }, /about another custom_id/],
    ['usage', (l) => { l.response.body.usage.completion_tokens--; }, /usage has other counts/],
    ['token', (l) => { receiptOf(l).tokens[3] ^= 1; }, /signature does not hold/],
    ['seed', (l) => { receiptOf(l).sampling.seed = '8'; }, /signature does not hold/],
    ['signature', (l) => { receiptOf(l).signature = 'A'.repeat(86) + '=='; }, /signature does not hold/],
    ['no base64', (l) => { receiptOf(l).signature = '?'.repeat(88); }, /signature or key is none/],
    ['finish_reason', (l) => { l.response.body.choices[0].finish_reason = 'stop'; }, /about another finish_reason/],
    ['told tokens', (l) => { l.response.body.synapse.tokens[0]++; }, /about another tokens/],
    ['model', (l) => { l.response.body.model = 'other'; }, /about another model/],
    ['invented logprobs', (l) => { l.response.body.choices[0].logprobs = { tokens: [] }; }, /knows of no log-prob/],
    ['logprobs wanted', (l) => { receiptOf(l).sampling.logprobs = 0; }, /receipt's logprobs_sha256: /],
    ['too many logprobs', (l) => { receiptOf(l).sampling.logprobs = 21; }, /receipt's sampling.logprobs: /],
    ['logprobs hash', (l) => { receiptOf(l).logprobs_sha256 = '00'.repeat(32); }, /receipt's logprobs_sha256: /],
    ['no receipt', (l) => { delete l.response.body.synapse.receipt; }, /no receipt/],
    ['version', (l) => { receiptOf(l).version = 3; }, /receipt's version: /],
    ['older version', (l) => { receiptOf(l).version = 1; }, /signature does not hold/],
    ['model_id', (l) => { receiptOf(l).model_id = 'xy'; }, /receipt's model_id: /],
    ['sampling', (l) => { receiptOf(l).sampling.top_p_q16 = 0; }, /receipt's sampling.top_p_q16: /],
    ['tokens', (l) => { receiptOf(l).tokens[0] = -1; }, /receipt's tokens: /],
    ['prompt_tokens', (l) => { receiptOf(l).prompt_tokens = []; }, /receipt's prompt_tokens: /],
    ['stop_tokens', (l) => { receiptOf(l).sampling.stop_tokens = Array(17).fill(1); }, /receipt's sampling.stop_tokens: /],
  ];
  const bad = changes.map(([, change]) => {
    const l = line('seeded');
    change(l);
    return l;
  });
  const run = await verify([...bad, line('seeded')], ...withModel());
  assert.equal(run.code, 1);
  assert.match(run.out, new RegExp(`^1 lines hold, ${bad.length} do not`));
  const told = run.err.trim().split('\n');
  changes.forEach(([name, , reason], i) => {
    assert.match(told[i], new RegExp(`^line ${i + 1}: `), name);
    assert.match(told[i], reason, name);
  });
});

test('a forged log-probability is found by the signature, and one that was signed by computing it', async () => {
  /** @type {[string, (choice: any) => void, RegExp][]} */
  const forgeries = [
    ['own', (c) => { c.logprobs.token_logprobs[2] -= 1 / 65536; }, /about other log-prob/],
    ['alternative', (c) => { c.logprobs.top_logprobs[1][Object.keys(c.logprobs.top_logprobs[1])[1]] += 1 / 65536; }, /about other log-prob/],
    ['name', (c) => { c.logprobs.tokens[0] += 'x'; }, /about other log-prob/],
    ['one less', (c) => { for (const list of Object.values(c.logprobs)) list.pop(); }, /about other log-prob/],
    ['finer than there is', (c) => { c.logprobs.token_logprobs[0] += 1e-9; }, /about other log-prob/],
    ['none', (c) => { c.logprobs = null; }, /log-probabilities are missing/],
  ];
  for (const [name, forge, reason] of forgeries) {
    const l = line('probs');
    forge(l.response.body.choices[0]);
    const bare = await verify([l], '--signature-only');
    assert.equal(bare.code, 1, name);
    assert.match(bare.err, reason, name);
    if (!l.response.body.choices[0].logprobs || name.startsWith('finer')) continue;
    receiptOf(l).logprobs_sha256 = createHash('sha256').update(scaled(l.response.body.choices[0].logprobs)).digest('hex');
    resign(l);
    assert.equal((await verify([l], '--signature-only')).code, 0, name);
    const run = await verify([l], ...withModel());
    assert.equal(run.code, 1, name);
    assert.match(run.err, /log-probabilities come out different/, name);
  }
  // the last of three choices
  const three = line('three');
  three.response.body.choices[2].logprobs.token_logprobs[0] -= 0.5;
  assert.match((await verify([three], '--signature-only')).err, /choice 2: the receipt is about other log-prob/);
});

test('receipts of version 1 are read as what they are', async () => {
  const old = (/** @type {string} */ id) => {
    const l = line(id), r = receiptOf(l);
    r.version = 1;
    delete r.sampling.logprobs;
    delete r.logprobs_sha256;
    return resign(l);
  };
  assert.equal((await verify([old('greedy')], ...withModel())).code, 0);
  assert.match((await verify([old('probs')], ...withModel())).err, /version 1, does not vouch for log-prob/);
});

test('a grid that signs a wrong answer is found by computing it, not by the signature', async () => {
  const lie = line('seeded');
  receiptOf(lie).tokens[5] ^= 1;
  lie.response.body.synapse.tokens[5] ^= 1;
  resign(lie);
  assert.equal((await verify([lie], '--signature-only')).code, 0);
  const run = await verify([lie], ...withModel());
  assert.equal(run.code, 1);
  assert.match(run.err, /token 6 of 12 comes out different/);
  const known = await verify([lie], '--signature-only', '--key', key);
  assert.match(known.err, /signed with another key/);
  const mixed = await verify([line('greedy'), lie], '--signature-only');
  assert.match(mixed.err, /line 2: it is signed with another key than the first/);
  const other = line('greedy');
  receiptOf(other).model_id = '0'.repeat(64);
  assert.match((await verify([resign(other)], ...withModel())).err, /another model/);
});

test('wrong calls say what is wrong', async () => {
  for (const [args, told] of /** @type {[string[], RegExp][]} */ ([
    [['verify'], /RESULTS.jsonl is needed/],
    [['verify', 'x'], /--model DIR, or --signature-only/],
    [['verify', 'x', '--signature-only', '--key', 'short'], /--key: base64 of 32 bytes/],
  ])) {
    const run = await synapse(args);
    assert.equal(run.code, 2);
    assert.match(run.err, told);
  }
  const missing = await synapse(['verify', path.join(grid.folder, 'none'), '--signature-only']);
  assert.equal(missing.code, 1);
  assert.match(missing.err, /No such file/);
  const empty = await verify([], '--signature-only');
  assert.equal(empty.code, 1);
  const odd = await verify([{}, 'text', { response: { body: {} } }], '--signature-only');
  assert.match(odd.out, /^0 lines hold, 3 do not/);
});
