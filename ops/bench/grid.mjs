// grid.mjs - tokens a second of one Chromium volunteer through the whole path
// (submit, queue, work calls, checks by the referee, results), beside
// `synapse bench` on the same model in the same minutes. Called by
// ops/bench/grid after the build.
//
//   node grid.mjs [rounds]
// @ts-check

import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { openVolunteers } from '../lib/browsers.mjs';
import { run, startServer } from '../lib/server.mjs';

const ROOT = path.resolve(import.meta.dirname, '../..');
const BIN = path.join(ROOT, 'build/release/bin');
const MODELS = path.join(ROOT, 'build/models');
const LINES = 64, TOKENS = 200;
const rounds = Number(process.argv[2] ?? 3);

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** One batch from submission to completion. @param {string} url @param {string} key */
async function batch(url, key) {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const requests = Array.from({ length: LINES }, (_, i) => ({
    custom_id: `line-${i}`, prompt: 'Once upon a time there was', max_tokens: TOKENS, temperature: 1, seed: i,
  }));
  const start = performance.now();
  const created = await (await fetch(`${url}/v1/batches`, { method: 'POST', headers, body: JSON.stringify({ requests }) })).json();
  for (;;) {
    const now = await (await fetch(`${url}/v1/batches/${created.id}`, { headers })).json();
    if (now.status === 'completed') return (now.synapse.tokens / (performance.now() - start)) * 1e3;
    if (performance.now() - start > 300_000) throw new Error(`the batch did not end: ${JSON.stringify(now)}`);
    await sleep(50);
  }
}

const folder = mkdtempSync(path.join(tmpdir(), 'synapse-bench-'));
const data = path.join(folder, 'data');
const log = createWriteStream(path.join(ROOT, 'build/bench-grid.log'));
const server = await startServer(BIN, ['--data', data, '--models', MODELS, '--listen', '127.0.0.1:0'], log);
const browser = await openVolunteers(server.url, ['bench']);
try {
  const key = (await run(`${BIN}/synapse`, ['keys', 'create', '--data', data])).trim().split('\n').at(-1) ?? '';
  await batch(server.url, key); // joins, downloads, warms up
  const grid = [], one = [], many = [];
  for (let i = 0; i < rounds; i++) {
    grid.push(await batch(server.url, key));
    const local = JSON.parse(await run(`${BIN}/synapse`, ['bench', path.join(MODELS, 'tales-gpt2'), '--prompt', '240', '--new', String(TOKENS)]));
    one.push(local.decode);
    many.push(local.decode_many);
    console.log(`round ${i + 1}: grid ${grid[i].toFixed(0)} tok/s, native decoding one ${one[i].toFixed(0)}, sixteen ${many[i].toFixed(0)}`);
  }
  for (const [name, peer] of /** @type {[string, number[]][]} */ ([['one', one], ['sixteen', many]])) {
    const ratio = median(grid) / median(peer);
    console.log([`grid-beside-native-${name}`, median(grid).toFixed(0), median(peer).toFixed(0), ratio.toFixed(2), '-', 'ok'].join('\t'));
  }
} finally {
  await browser.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
