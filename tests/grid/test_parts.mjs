// test_parts.mjs - real volunteers, native ones and a headless Chromium, on
// parts of models, handed units by a scripted server: chained over 2, 3 and 6
// spans they give the bytes of the whole model.
// @ts-check

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { launchChromium } from '../../ops/lib/browsers.mjs';
import { ROOT, splitModel, synapseOk, until } from './grid.mjs';
import { Chain, PartHost, STATUS, nativeFor, shardsOf } from './parts.mjs';

const SHARDS = 6, TOKENS = 10;
const GPT2 = 'ops/models/tales-gpt2', LLAMA = 'tests/models/tales-llama';

/** @type {string} */
let folder;
/** @type {PartHost[]} */
let hosts = [];
/** @type {import('./grid.mjs').Volunteer[]} */
let natives = [];
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('playwright-core').BrowserContext[]} */
let contexts = [];

before(async () => {
  browser = await launchChromium(['--no-proxy-server']);
});
after(() => browser.close());
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'synapse-parts-'));
});
afterEach(async () => {
  await Promise.all(natives.map((volunteer) => volunteer.stop('SIGKILL')));
  await Promise.all(contexts.map((context) => context.close()));
  await Promise.all(hosts.map((host) => host.stop()));
  hosts = [];
  natives = [];
  contexts = [];
  rmSync(folder, { recursive: true, force: true });
});

/** A host with its native volunteer. @param {string} model folder @param {string[]} [args] */
async function native(model, args = ['--memory', '64M']) {
  const host = await PartHost.start(model);
  hosts.push(host);
  natives.push(nativeFor(host, folder, `native-${hosts.length}`, args));
  return host;
}

/** A host with a page of its own, which may use so many megabytes. @param {string} model folder @param {number} maxMb */
async function page(model, maxMb = 64) {
  const host = await PartHost.start(model);
  hosts.push(host);
  const context = await browser.newContext();
  contexts.push(context);
  await context.addInitScript((mb) => localStorage.setItem('synapse.settings', JSON.stringify({ maxMb: mb, intensity: 100 })), maxMb);
  const tab = await context.newPage();
  await tab.goto(`${host.server.url}/contribute?autostart=1&name=page`);
  return { host, tab };
}

/** Prompts with what the whole model says. @param {string} source */
async function truths(source) {
  const golden = JSON.parse(readFileSync(path.join(ROOT, source, 'golden.json'), 'utf8'));
  const whole = await splitModel(source, SHARDS);
  return Promise.all(golden.greedy.slice(0, 2).map(async (/** @type {any} */ g) => {
    const { out } = await synapseOk(['run', whole, '--json', '--prompt', g.prompt, '--max-tokens', String(TOKENS)]);
    return { prompt: g.prompt_ids, tokens: JSON.parse(out).tokens };
  }));
}

/** n spans of equal length. @param {number} n */
const spansOf = (n) => Array.from({ length: n }, (_, i) => ({ first: (i * SHARDS) / n, end: ((i + 1) * SHARDS) / n }));

for (const source of [GPT2, LLAMA]) {
  test(`${path.basename(source)} over 2, 3 and 6 spans is the whole model, on native volunteers and Chromium`, async () => {
    const model = await splitModel(source, SHARDS);
    const lines = await truths(source);
    const all = [await native(model), (await page(model)).host, await native(model)];
    /** @type {Map<string, string>} rows that crossed a boundary, whoever computed them */
    const rows = new Map();
    let id = 1n;
    for (const n of [2, 3, 6]) {
      const spans = spansOf(n);
      const chain = new Chain(spans.map((_, i) => all[i % all.length]), spans);
      for (const [i, line] of lines.entries()) {
        for (const [at, span] of spans.entries()) await chain.hosts[at].hold(span.first, span.end);
        chain.crossed = [];
        assert.deepEqual(await chain.generate(id++, line.prompt, TOKENS), line.tokens, `${n} spans, prompt ${i}`);
        for (const { end, position, hex } of chain.crossed) {
          const key = `${i} ${end} ${position}`;
          assert.equal(rows.get(key) ?? hex, hex, `row ${position} at boundary ${end} of prompt ${i}`);
          rows.set(key, hex);
        }
      }
    }
  });
}

test('units that mix prefill and decode, check by prints only, lack KV, or are of a new epoch', async () => {
  const model = await splitModel(GPT2, SHARDS);
  const all = [await native(model), (await page(model)).host];
  const span = { first: 2, end: 4 };
  const feeder = await native(model);
  await feeder.hold(0, 2);
  const [a, b] = (await truths(GPT2)).map((line) => line.prompt);
  const given = await feeder.compute({ first: 0, end: 2, seqs: [{ id: 1n, first: 0, tokens: a }, { id: 2n, first: 0, tokens: b }] });
  const [rowsA, rowsB] = given.map((g) => g.rows);
  /** @type {import('./parts.mjs').PartAnswer[][]} */
  const truth = [];
  for (const host of all) {
    await host.hold(span.first, span.end);
    const alone = await host.compute({ ...span, seqs: [{ id: 1n, first: 0, rows: rowsA }] });
    await host.compute({ ...span, seqs: [{ id: 2n, first: 0, rows: rowsB.slice(0, -1) }] });
    // One row of the second behind what is there, with a whole third beside it.
    const mixed = await host.compute({ ...span, seqs: [
      { id: 2n, first: rowsB.length - 1, rows: rowsB.slice(-1) }, { id: 3n, first: 0, rows: rowsA }] });
    assert.deepEqual(mixed.map((m) => m.rows.length), [1, rowsA.length]);
    assert.deepEqual(mixed[1].rows, alone[0].rows, 'a neighbour changes nothing');
    const prints = await host.compute({ ...span, printsOnly: true, seqs: [{ id: 4n, first: 0, rows: rowsA }] });
    assert.deepEqual(prints[0].prints, alone[0].prints);
    assert.equal(prints[0].rows.length, 0);
    const lost = await host.compute({ ...span, seqs: [
      { id: 9n, first: 3, rows: rowsA.slice(3) }, { id: 1n, first: rowsA.length, rows: rowsB.slice(0, 1) }] });
    assert.deepEqual(lost.map((l) => l.status), [STATUS.kvMissing, STATUS.ok], 'the one lacks its history, the other has it');
    const epoch = await host.compute({ ...span, seqs: [{ id: 1n, epoch: 1, first: 4, kvValid: 3, rows: rowsA.slice(4) }] });
    assert.equal(epoch[0].status, STATUS.kvMissing, 'only three rows are still valid');
    const back = await host.compute({ ...span, seqs: [{ id: 1n, epoch: 1, first: 3, kvValid: 3, rows: rowsA.slice(3) }] });
    assert.deepEqual(back[0].rows, alone[0].rows.slice(3));
    const old = await host.compute({ ...span, seqs: [{ id: 1n, epoch: 0, first: 4, rows: rowsA.slice(4) }] });
    assert.equal(old[0].status, STATUS.kvMissing, 'an epoch that is over');
    truth.push([...alone, ...mixed, ...prints, ...back]);
  }
  assert.deepEqual(truth[0], truth[1], 'Chromium gives the bytes of the native volunteer');
});

test('a second unit comes while the first is computed, on parts too', async () => {
  const model = await splitModel(GPT2, SHARDS);
  const host = await native(model, ['--memory', '64M', '--delay-ms', '300']);
  await host.hold(0, 3);
  const [{ prompt }] = await truths(GPT2);
  const two = [1n, 2n].map((id) => host.compute({ first: 0, end: 3, seqs: [{ id, first: 0, tokens: prompt }] }));
  const [one, other] = await Promise.all(two);
  assert.deepEqual(one[0].rows, other[0].rows);
  const first = host.server.calls.find((call) => call.result);
  assert.equal(first?.held.length, 1, 'as the first result came, the second unit was in hand');
});

/** Bytes of shard files that a process has mapped, and of them in memory. @param {number | undefined} pid */
function mapped(pid) {
  const sums = { mapped: 0, resident: 0 };
  let isShard = false;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) isShard = line.endsWith('.safetensors');
    const kb = Number(/^(?:Size|Rss): +(\d+) kB/.exec(line)?.[1] ?? 0);
    if (isShard && line.startsWith('Size:')) sums.mapped += kb * 1024;
    if (isShard && line.startsWith('Rss:')) sums.resident += kb * 1024;
  }
  return sums;
}

test('a page keeps to its megabytes, says which layers it holds, and refuses what does not fit', async () => {
  const model = await splitModel(GPT2, SHARDS);
  const { host, tab } = await page(model, 16);
  const shards = shardsOf(model), total = shards.reduce((/** @type {number} */ n, /** @type {any} */ s) => n + s.bytes, 0);
  // The whole model and room to compute are a little more than it may use.
  await until(() => host.server.calls.length > 0, 'call', 30_000);
  assert.equal(host.server.joined[0].memory, total - 1);
  assert.match((await tab.textContent('#trouble')) ?? '', /more than the 16\.0 MB that you allow/);
  const held = () => tab.textContent('#held');
  const fetched = () => host.server.log.filter((line) => line.includes('/shards/')).map((line) => path.basename(line));
  const before = new Set(fetched());
  assert.equal(before.size, SHARDS);
  await host.hold(1, 3);
  await until(async () => /layers 2 to 3 of the 6 of tales-gpt2/.test((await held()) ?? ''), 'words', 10_000);
  const [{ prompt }] = await truths(GPT2);
  const rows = prompt.map(() => Buffer.alloc(264));
  await host.compute({ first: 1, end: 3, seqs: [{ id: 1n, first: 0, rows }] });
  await host.hold(3, 4);
  for (let i = 2n; i < 40n; i++) await host.compute({ first: 3, end: 4, seqs: [{ id: i, first: 0, rows }] });
  const call = host.server.calls.at(-1);
  assert.equal((call?.memory ?? 0) + (call?.models ?? []).flatMap((m) => shards.slice(m.first, m.end))
    .reduce((n, s) => n + s.bytes, 0), total - 1, 'what is free and what is listed make the bound');
  const mb = Number(/: ([\d.]+) MB of memory/.exec((await held()) ?? '')?.[1]);
  assert.ok(mb > 4 && mb <= 16, `${mb} MB: ${await held()}`);
});

test('a native volunteer fetches only its shards, tells its memory, and drops the oldest span for another', async () => {
  const model = await splitModel(GPT2, SHARDS);
  const shards = shardsOf(model), bound = 6 << 20;
  const host = await native(model, ['--memory', String(bound)]);
  const bytes = (/** @type {{first: number, end: number}[]} */ spans) =>
    spans.flatMap((s) => shards.slice(s.first, s.end)).reduce((n, s) => n + s.bytes, 0);
  const told = () => {
    const call = host.server.calls.at(-1);
    assert.ok(call);
    assert.equal(call.memory + bytes(call.models), bound, 'what is free and what is listed make the bound');
    assert.ok(mapped(natives[0].child.pid).mapped <= bound);
    return call.models.map((m) => `${m.first}-${m.end}`);
  };

  await until(() => host.server.calls.length > 0, 'call');
  assert.deepEqual(told(), []);
  await host.hold(1, 2);
  assert.deepEqual(told(), ['1-2']);
  const fetched = () => host.server.log.filter((line) => line.includes('/shards/')).map((line) => path.basename(line));
  assert.deepEqual(fetched(), [shards[1].file], 'of six shards one was asked for');
  const cache = path.join(folder, 'cache-native-1', host.modelId);
  assert.deepEqual(readdirSync(cache).filter((f) => f.endsWith('.safetensors')), [shards[1].file]);
  await host.hold(2, 3);
  assert.deepEqual(told(), ['1-2', '2-3'], 'both fit');
  await host.hold(2, 5);
  assert.ok(!told().includes('1-2'), 'the oldest made way');
  assert.deepEqual(fetched().toSorted(), shards.slice(1, 5).map((/** @type {any} */ s) => s.file), 'no shard came twice');

  // As little as the bound, but there would be no room to compute.
  const large = { first: 0, end: 5 };
  assert.ok(bytes([large]) < bound);
  const before = told();
  host.wanted = large;
  await until(() => (host.server.calls.at(-1)?.memory ?? 0) + bytes(before.map(parse)) < bytes([large]), 'lower bound told', 30_000);
  assert.equal(host.server.joined.at(-1).memory, bytes([large]) - 1, 'it joined again with less');
  assert.match(readFileSync(natives[0].log, 'utf8'), /shards 1 to 5 of tales-gpt2 need \d+ MB, 6 MB are allowed/);
  assert.equal(host.server.calls.at(-1)?.models.length, before.length, 'what it had it kept');
  host.wanted = null;
  const [{ prompt }] = await truths(GPT2);
  const [answer] = await host.compute({ ...parse(before[0]), seqs: [{ id: 5n, first: 0, rows: prompt.map(() => Buffer.alloc(264)) }] });
  assert.equal(answer.rows.length, prompt.length, 'it computes on');
});

/** @param {string} span */
function parse(span) {
  const [first, end] = span.split('-').map(Number);
  return { first, end };
}
