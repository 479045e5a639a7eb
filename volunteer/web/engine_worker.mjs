// @ts-check
// engine_worker.mjs - the worker in which the engine computes. It answers one
// message after the other and knows nothing of the network.

import { EnginePair } from './engine_pair.mjs';
import { ShardMismatch, WasmEngine } from './engine_wasm.mjs';
import { dispatch } from './messages.mjs';
import { probeModule } from './probe.mjs';

/**
 * @typedef {import("./messages.mjs").Open} Open
 * @typedef {import("./messages.mjs").Load} Load
 * @typedef {import("./messages.mjs").Run} Run
 * @typedef {import("./messages.mjs").UseThreads} UseThreads
 */

/** @type {EnginePair|null} */
let engine = null;
let queue = Promise.resolve();

/** @returns {EnginePair} */
function opened() {
  if (!engine) throw new Error('the engine is not open');
  return engine;
}

/** @param {Open} m */
async function open(m) {
  const probeMs = await probeModule(m.wasm, m.threads);
  const note = (/** @type {string} */ text) => self.postMessage({ kind: 'note', text });
  engine = await EnginePair.open(() => WasmEngine.open(m.wasm, m.most), m.gpu === 'never' ? undefined : navigator.gpu, note,
    { always: m.gpu === 'always', threads: m.threads });
  return { backend: engine.backend, probeMs };
}

/** @param {Load} m */
async function load(m) {
  const total = m.shards.reduce((n, s) => n + s.blob.size, 0);
  const onBytes = (/** @type {number} */ done) => self.postMessage({ kind: 'loading', done, total });
  await opened().load(m.model, m.shards, m.maxBytes, onBytes);
  return { slots: opened().freeSlots(), bytes: opened().bytes(), threads: opened().threadCount, noted: opened().noted };
}

/** @param {UseThreads} m */
async function threads(m) {
  await opened().useThreads(m.threads);
  return opened().threadCount;
}

/** @param {Run} m */
async function run(m) {
  const result = await opened().run(m.frame);
  return { result, bytes: opened().bytes() };
}

/** @param {(m: any) => Promise<any>} work */
function answered(work) {
  return (/** @type {{call: number}} */ m) => {
    queue = queue.then(async () => {
      try {
        self.postMessage({ kind: 'done', call: m.call, value: await work(m) });
      } catch (error) {
        const e = error instanceof Error ? error : new Error(String(error));
        const shard = error instanceof ShardMismatch ? error.sha256 : null;
        self.postMessage({ kind: 'failed', call: m.call, text: e.message, name: e.name, shard });
      }
    });
  };
}

const table = { open: answered(open), load: answered(load), run: answered(run), threads: answered(threads) };
self.onmessage = (event) => dispatch(table, event.data);
