// test_spans.mjs - models that no volunteer can hold, over spans, by the whole
// grid: every line is that of the whole model, on native volunteers and
// Chromium, and also when the plan changes in the middle.
// @ts-check

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { launchChromium } from '../../ops/lib/browsers.mjs';
import { Grid, answerOf, splitModel, synapseOk, until } from './grid.mjs';

const SHARDS = 6;
const GPT2 = 'ops/models/tales-gpt2', LLAMA = 'tests/models/tales-llama';

/** @type {string} */
let folder;
/** @type {import('playwright-core').Browser} */
let browser;

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'synapse-spans-'));
  browser = await launchChromium(['--no-proxy-server']);
});
after(async () => {
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The split model in a folder of its own, for synapsed. @param {string} source */
async function modelsWith(source) {
  const models = path.join(folder, path.basename(source));
  cpSync(await splitModel(source, SHARDS), path.join(models, path.basename(source)), { recursive: true });
  return models;
}

/** Memory that does for any of the spans and not for more shards than the longest has.
 * @param {string} models @param {string} source @param {number} nSpans */
function memoryFor(models, source, nSpans) {
  const { shards, architecture: a } = JSON.parse(readFileSync(path.join(models, path.basename(source), 'manifest.json'), 'utf8'));
  const kv = a.context * a.kv_heads * (2 * a.head_size + 2) * (a.layers / SHARDS);
  const needs = shards.map((/** @type {any} */ s) => s.bytes + kv);
  const length = SHARDS / nSpans;
  const spans = Array.from({ length: nSpans }, (_, i) =>
    needs.slice(i * length, (i + 1) * length).reduce((/** @type {number} */ n, /** @type {number} */ b) => n + b, 0));
  return Math.ceil(Math.max(...spans) + 0.9 * Math.min(...needs));
}

/** @param {string} source @param {number} n @param {number} tokens @returns {import('./grid.mjs').Request[]} */
function requestsOf(source, n, tokens) {
  const golden = JSON.parse(readFileSync(path.join(source, 'golden.json'), 'utf8'));
  return Array.from({ length: n }, (_, i) => ({
    custom_id: `line-${i}`,
    prompt: golden.greedy[i % golden.greedy.length].prompt,
    max_tokens: tokens,
    logprobs: 2,
    ...(i % 2 ? { temperature: 0.9, top_p: 0.9, seed: i } : { temperature: 0 }),
  }));
}

/** What `synapse run` says. @param {string} model @param {import('./grid.mjs').Request} request */
async function truth(model, request) {
  const args = ['run', model, '--json', '--prompt', request.prompt, '--max-tokens', String(request.max_tokens),
    '--temperature', String(request.temperature)];
  if (request.top_p) args.push('--top-p', String(request.top_p), '--seed', String(request.seed));
  const { text, tokens, finish_reason } = JSON.parse((await synapseOk(args)).out);
  return { text, tokens, finish_reason };
}

/** A page that may use 16 MB: less than the GPT-2 model and room to compute it. @param {Grid} grid */
async function openPage(grid) {
  const context = await browser.newContext();
  await context.addInitScript(() => localStorage.setItem('synapse.settings', JSON.stringify({ maxMb: 16, intensity: 100 })));
  const page = await context.newPage();
  await page.goto(`${grid.url}/contribute?autostart=1&name=page`);
  return context;
}

/** Each line once, and as the whole model says; so are its log-probabilities, by its receipt. @param {Grid} grid @param {string} id
 * @param {import('./grid.mjs').Request[]} requests @param {string} model */
async function assertLines(grid, id, requests, model) {
  const batch = await grid.finished(id);
  assert.equal(batch.status, 'completed');
  const lines = await grid.results(id);
  assert.equal(lines.length, requests.length);
  const byId = new Map(lines.map((line) => [line.custom_id, line]));
  for (const request of requests)
    assert.deepEqual(answerOf(byId.get(request.custom_id)), await truth(model, request), request.custom_id);
  const file = path.join(grid.folder, `${id}.jsonl`);
  writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  assert.match((await synapseOk(['verify', file, '--model', model])).out, new RegExp(`^${requests.length} lines hold, 0 do not`));
}

/** Which parts of the model volunteers have opened, from their logs. @param {Grid} grid */
function opened(grid) {
  return new Set(grid.volunteers.flatMap((v) =>
    [...readFileSync(v.log, 'utf8').matchAll(/shards (\d+) to (\d+) of \d+, is ready/g)].map((m) => `${m[1]}-${m[2]}`)));
}

for (const { source, nSpans, natives, pages } of [
  { source: GPT2, nSpans: 3, natives: 2, pages: 1 },
  { source: LLAMA, nSpans: 2, natives: 2, pages: 0 },
]) {
  test(`${path.basename(source)} over ${nSpans} spans, ${natives} native volunteers, ${pages} pages`, async () => {
    const models = await modelsWith(source), model = path.join(models, path.basename(source));
    const memory = memoryFor(models, source, nSpans);
    const requests = requestsOf(source, 8, 12);
    const grid = await Grid.start({ args: ['--models', models] });
    /** @type {import('playwright-core').BrowserContext[]} */
    const contexts = [];
    try {
      for (let i = 0; i < pages; i++) contexts.push(await openPage(grid));
      for (let i = 0; i < natives; i++) grid.volunteer(`v${i}`, ['--memory', String(memory), '--threads', '1']);
      const { id } = await grid.submit(requests, { receipts: true });
      await assertLines(grid, id, requests, model);
      assert.ok(![...opened(grid)].includes(`1-${SHARDS}`), 'nobody had the whole model');
      for (const line of pages ? await grid.results(id) : []) {
        const names = line.response.body.synapse.computed_by.map((/** @type {any} */ maker) => maker.name);
        assert.ok(names.includes('page') && names.length > 1, `the page computed a part: ${names.join(' ')}`);
      }
      const held = pages ? nSpans - pages : nSpans; // by those that have a log
      assert.ok(opened(grid).size >= held, [...opened(grid)].join(' '));
    } finally {
      await Promise.all(contexts.map((context) => context.close()));
      assert.deepEqual(await grid.stop(), []);
    }
  });
}

test('when volunteers with other memory take over in the middle, the lines stay the same', async () => {
  const models = await modelsWith(GPT2), model = path.join(models, 'tales-gpt2');
  const requests = requestsOf(GPT2, 4, 24);
  const grid = await Grid.start({ args: ['--models', models] });
  try {
    const first = [0, 1, 2].map((i) =>
      grid.volunteer(`a${i}`, ['--memory', String(memoryFor(models, GPT2, 3)), '--threads', '1', '--delay-ms', '400']));
    const { id } = await grid.submit(requests, { receipts: true });
    await until(() => opened(grid).size >= 3, 'three spans', 60_000);
    await until(async () => (await grid.ask('/v1/stats')).volunteers.length >= 3, 'volunteers');
    const larger = String(memoryFor(models, GPT2, 2));
    for (const i of [0, 1]) grid.volunteer(`b${i}`, ['--memory', larger, '--threads', '1']);
    await until(() => opened(grid).size >= 4, 'a span of another plan', 60_000);
    assert.notEqual((await grid.ask(`/v1/batches/${id}`)).status, 'completed', 'it is in the middle');
    for (const one of first) one.child.kill('SIGKILL');
    await assertLines(grid, id, requests, model);
  } finally {
    assert.deepEqual(await grid.stop(), []);
  }
});
