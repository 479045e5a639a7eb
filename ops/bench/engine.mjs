// engine.mjs - the engine's speed beside its peers', in interleaved rounds on
// one machine; called by ops/bench/engine after the build.
//
//   engine.mjs [--rounds N]    (default: 3)
//
// Models have GPT-2 124M's shape and random weights, each side's in its own
// format of about eight bits. Everything is per thread but the rows that say
// two, and loading, which uses all there are. A row's numbers are medians over
// the rounds, its ratio is that of the medians (for limits on time and memory:
// what is left of the limit), and it is `ok` where the ratio reaches the bar.
// First a table for people, then a line a row: name, ours, peer or limit,
// ratio, bar, ok or short, with tabs.
//
// Programs are those of SYNAPSE_BUILD (default: build/release) and
// SYNAPSE_WASM (default: build/wasm).
// @ts-check

import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

import { launchChromium } from '../lib/browsers.mjs';
import { writeGguf } from './gguf.mjs';
import { matMulInteger } from './onnx.mjs';
import { servePages } from './page_server.mjs';

const HERE = import.meta.dirname;
const ROOT = path.resolve(HERE, '../..');
const SYNAPSE = path.join(ROOT, process.env.SYNAPSE_BUILD ?? 'build/release', 'bin/synapse');
const WASM = path.join(ROOT, process.env.SYNAPSE_WASM ?? 'build/wasm');
const FILES = path.join(ROOT, 'build/bench');
const MODEL = 'gpt2-124m';

const SHAPE = { width: 768, layers: 12, heads: 12, context: 1024, vocab: 50257 };
const D = SHAPE.width;
const PRODUCTS = [[D, 3 * D], [D, D], [D, 4 * D], [4 * D, D]]; // k, n
const LAYER_MACS = PRODUCTS.reduce((sum, [k, n]) => sum + k * n, 0) * SHAPE.layers;
// A new token reads every weight once, and a mantissa for each 64 of them.
const TOKEN_BYTES = (LAYER_MACS + D * SHAPE.vocab) * (1 + 1 / 64);
const PROMPT = 480, NEW = 32, SEQUENCES = 16;
const FIRST_TOKEN_S = 2; // limit
const MEMORY = 1.3; // limit, times the shards, plus KV
const PAGE = 64; // positions that KV grows by
const KV_BYTES = Math.max(Math.ceil((PROMPT + 1) / PAGE), SEQUENCES) * PAGE * 2 * D * SHAPE.layers;

const { rounds } = parseArgs({ options: { rounds: { type: 'string', default: '3' } } }).values;

/** @param {string} text */
const say = (text) => console.log(`engine: ${text}`);

/** Make what is not there yet, under its name only once it is whole.
 * @param {string} name @param {(path: string) => void} make */
function made(name, make) {
  const file = path.join(FILES, name), part = `${file}.part`;
  if (existsSync(file)) return;
  say(`making ${name}`);
  make(part);
  renameSync(part, file);
}

function makeFiles() {
  mkdirSync(FILES, { recursive: true });
  made(`${MODEL}-hf`, (out) => execFileSync(process.execPath, [path.join(HERE, 'make_model.mjs'), out]));
  made(MODEL, (out) => execFileSync(SYNAPSE, ['split', path.join(FILES, `${MODEL}-hf`), out], { stdio: 'ignore' }));
  made(`${MODEL}.gguf`, (out) => writeGguf(out, SHAPE));
}

function readManifest() {
  const bytes = readFileSync(path.join(FILES, MODEL, 'manifest.json'));
  const { shards } = JSON.parse(bytes.toString());
  return { id: createHash('sha256').update(bytes).digest('hex'), shards, vocab: SHAPE.vocab };
}

/** `synapse bench` in a process of its own. @param {string[]} args */
const native = (...args) => JSON.parse(execFileSync(SYNAPSE, ['bench', path.join(FILES, MODEL), ...args], { encoding: 'utf8' }));

/** llama.cpp's native build, which measures when asked. */
async function startLlama() {
  const child = spawn(process.execPath,
    [path.join(HERE, 'peer_llamacpp.mjs'), path.join(FILES, `${MODEL}.gguf`), String(PROMPT), String(2 * NEW)],
    { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error('llama.cpp ended');
    return value;
  };
  if ((await next()) !== 'ready') throw new Error('llama.cpp did not start');
  return {
    async measure() {
      child.stdin.write('\n');
      return JSON.parse(await next());
    },
    close: () => child.stdin.end(),
  };
}

/** What runs in the pages: one a peer, all of one Chromium. @param {string} url
 * @param {import('playwright-core').Browser} browser @param {ReturnType<typeof readManifest>} model */
async function openPages(url, browser, model) {
  const open = async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(300_000);
    await page.goto(url);
    return page;
  };
  const ours = await open(), wllama = await open(), onnx = await open();
  const wasm = '/wasm/synapse-relaxed.wasm', threaded = '/wasm/synapse-relaxed-threads.wasm', dir = `/files/${MODEL}/`;
  const kernels = await ours.evaluate(async ([wasm, threaded, dir, model]) => {
    const g = /** @type {any} */ (globalThis);
    g.page = await import(/** @type {any} */ ('/bench/ours_page.mjs'));
    g.engine = await g.page.openEngine(wasm, dir, model);
    g.limits = await g.page.openLimits('/wasm/limits.wasm');
    await g.page.cacheShards(dir, model);
    g.threads = await g.page.openThreads(threaded, model);
    return g.engine.kernels;
  }, /** @type {const} */ ([wasm, threaded, dir, model]));
  await wllama.evaluate(async (gguf) => {
    const g = /** @type {any} */ (globalThis);
    g.peer = await (await import(/** @type {any} */ ('/bench/peer_page.mjs'))).wllama(gguf);
  }, `/files/${MODEL}.gguf`);
  await onnx.evaluate(async ([rows, shapes]) => {
    const g = /** @type {any} */ (globalThis);
    const peers = await import(/** @type {any} */ ('/bench/peer_page.mjs'));
    g.runs = [];
    for (const { k, n, model } of shapes)
      g.runs.push(await peers.onnxruntime(Uint8Array.from(atob(model), (c) => c.charCodeAt(0)), rows, k, n));
  }, /** @type {const} */ ([PROMPT, PRODUCTS.map(([k, n]) =>
    ({ k, n, model: Buffer.from(matMulInteger(PROMPT, k, n)).toString('base64') }))]));

  /** @param {import('playwright-core').Page} page @param {string} code */
  const number = (page, code) => page.evaluate(/** @type {any} */ (code)).then(Number);
  return {
    kernels,
    ours: (/** @type {string} */ code) => number(ours, code),
    wllama: (/** @type {string} */ code) => number(wllama, code),
    firstToken: () => ours.evaluate(([wasm, model]) =>
      /** @type {any} */ (globalThis).page.firstToken(wasm, model), /** @type {const} */ ([threaded, model])),
    /** The rate over all shapes, from each one's. */
    async products() {
      const rates = { ours: /** @type {number[]} */ ([]), peer: /** @type {number[]} */ ([]) };
      for (const [i, [k, n]] of PRODUCTS.entries()) {
        rates.ours.push(await number(ours, `limits.product(${PROMPT}, ${k}, ${n})`));
        rates.peer.push(await number(onnx, `runs[${i}]()`));
      }
      const overall = (/** @type {number[]} */ each) =>
        PRODUCTS.reduce((sum, [k, n]) => sum + k * n, 0) /
        PRODUCTS.reduce((sum, [k, n], i) => sum + (k * n) / each[i], 0);
      return { ours: overall(rates.ours), peer: overall(rates.peer) };
    },
  };
}

/** @type {Map<string, number[]>} */
const samples = new Map();
/** @param {string} name @param {number} value */
const note = (name, value) => samples.set(name, [...(samples.get(name) ?? []), value]);
/** @param {string} name */
function median(name) {
  const sorted = [...(samples.get(name) ?? [])].sort((a, b) => a - b), n = sorted.length;
  return (sorted[Math.floor((n - 1) / 2)] + sorted[Math.floor(n / 2)]) / 2;
}

/** @param {Awaited<ReturnType<typeof openPages>>} pages @param {Awaited<ReturnType<typeof startLlama>>} llama */
async function round(pages, llama) {
  note('dot', await pages.ours('limits.dot()'));
  note('read', await pages.ours('limits.read()'));
  note('prompt', await pages.ours(`engine.prompt(${PROMPT})`));
  note('one thread', await pages.ours(`threads.prompt(${PROMPT}, 1)`));
  note('two threads', await pages.ours(`threads.prompt(${PROMPT}, 2)`));
  note('peer prompt', await pages.wllama(`peer.prompt(${PROMPT})`));
  note('decode', await pages.ours(`engine.decode(1, ${NEW})`));
  note('peer decode', await pages.wllama(`peer.decode(${NEW})`));
  note('decode 16', await pages.ours(`engine.decode(${SEQUENCES}, ${NEW})`));
  const product = await pages.products();
  note('product', product.ours);
  note('peer product', product.peer);
  note('first token', await pages.firstToken());

  const alone = native('--prompt', String(PROMPT), '--new', String(2 * NEW), '--sequences', String(SEQUENCES));
  const theirs = await llama.measure();
  const two = native('--prompt', String(PROMPT), '--new', '1', '--sequences', '1', '--threads', '2');
  note('native prompt', alone.prompt);
  note('native decode', alone.decode);
  note('native decode 16', alone.decode_many);
  note('native two', two.prompt);
  note('llama prompt', theirs.prompt);
  note('llama decode', theirs.decode);
}

/** The rows: name, ours, peer or limit, bar, unit.
 * @param {{memory: number, shards: number}} bytes
 * @returns {[string, number, number, number, string][]} */
function rowsOf({ memory, shards }) {
  const m = median;
  return [
    ['chromium prompt 480 / wllama', m('prompt'), m('peer prompt'), 8, 'tok/s'],
    ['chromium prompt 480 / dot peak', (m('prompt') * LAYER_MACS) / 1e9, m('dot'), 0.45, 'G MAC/s'],
    ['chromium decode 1 / wllama', m('decode'), m('peer decode'), 5, 'tok/s'],
    ['chromium decode 1 / plain read', (m('decode') * TOKEN_BYTES) / 1e9, m('read'), 0.7, 'GB/s'],
    ['chromium decode 16 / wllama', m('decode 16'), m('peer decode'), 12, 'tok/s'],
    ['chromium product 480 rows / onnxruntime-web', m('product'), m('peer product'), 1.8, 'G MAC/s'],
    ['native prompt 480 / llama.cpp', m('native prompt'), m('llama prompt'), 1.5, 'tok/s'],
    ['native decode 1 / llama.cpp', m('native decode'), m('llama decode'), 1.7, 'tok/s'],
    ['native decode 16 / llama.cpp', m('native decode 16'), m('llama decode'), 8, 'tok/s'],
    ['chromium prompt 480, two threads / one', m('two threads'), m('one thread'), 1.7, 'tok/s'],
    ['native prompt 480, two threads / one', m('native two'), m('native prompt'), 1.7, 'tok/s'],
    ['chromium cached load to first token / limit', FIRST_TOKEN_S / m('first token'), 1, 1, 'limits'],
    ['chromium memory / limit', (MEMORY * shards + KV_BYTES) / memory, 1, 1, 'limits'],
  ];
}

/** @param {number} v */
const short = (v) => v.toFixed(v < 10 ? 2 : v < 100 ? 1 : 0);

async function main() {
  makeFiles();
  const model = readManifest();
  const shards = model.shards.reduce((/** @type {number} */ sum, /** @type {{bytes: number}} */ s) => sum + s.bytes, 0);
  const server = await servePages({
    '/bench/': HERE, '/web/': path.join(ROOT, 'volunteer/web'), '/wasm/': WASM, '/files/': FILES,
    '/peers/': path.join(HERE, 'node_modules'),
  });
  const browser = await launchChromium();
  const llama = await startLlama();
  let memory = 0;
  try {
    const pages = await openPages(server.url, browser, model);
    say(`${cpus()[0].model}, ${availableParallelism()} processors; kernels in Chromium: ${pages.kernels}`);
    await pages.ours('engine.prompt(64), engine.decode(2, 8)'); // V8 compiles what is hot
    for (let i = 1; i <= Number(rounds); i++) {
      const before = loadavg()[0];
      await round(pages, llama);
      say(`round ${i} of ${rounds}; load ${short(before)} before, ${short(loadavg()[0])} after`);
    }
    memory = await pages.ours('engine.memory()');
  } finally {
    llama.close();
    await browser.close();
    server.close();
  }
  say(`a new token reads ${short(TOKEN_BYTES / 1e6)} MB, one of a prompt multiplies ${short(LAYER_MACS / 1e6)} M times`);
  say(`Chromium: dot peak ${short(median('dot'))} G MAC/s, plain read ${short(median('read'))} GB/s, ` +
    `first token after ${short(median('first token'))} s, memory ${short(memory / 1e6)} MB for shards of ${short(shards / 1e6)} MB`);

  const rows = rowsOf({ memory, shards }).map(([name, ours, peer, bar, unit]) =>
    ({ name, ours, peer, ratio: ours / peer, bar, unit, ok: ours / peer >= bar ? 'ok' : 'short' }));
  for (const r of rows)
    console.log(`${r.name.padEnd(46)}${short(r.ours).padStart(8)}${short(r.peer).padStart(9)} ${r.unit.padEnd(8)}` +
      `${r.ratio.toFixed(2).padStart(7)} of ${String(r.bar).padEnd(5)}${r.ok}`);
  for (const r of rows)
    console.log([r.name, short(r.ours), short(r.peer), r.ratio.toFixed(2), r.bar, r.ok].join('\t'));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(`engine: ${error instanceof Error ? error.stack : error}`);
    process.exit(1);
  },
);
