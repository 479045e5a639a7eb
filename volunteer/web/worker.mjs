// @ts-check
// worker.mjs - the volunteer: a dedicated worker between the page, which only
// shows and asks, and the engine, which only computes. It looks at the device,
// joins, keeps the model, works, and joins again when the server forgot it.

import { effortOf, threadsMost } from './effort.mjs';
import { RemoteEngine } from './engine_remote.mjs';
import { WasmEngine } from './engine_wasm.mjs';
import { findFeatures } from './features.mjs';
import { Membership, RejoinError, listModels } from './grid.mjs';
import { Backoff, HttpError, NetworkError, sleep } from './http.mjs';
import { dispatch } from './messages.mjs';
import { Models, TooLargeError } from './models.mjs';
import { openStore } from './shard_store.mjs';
import { payToll } from './toll.mjs';
import { WorkLoop, newCounts } from './work_loop.mjs';

/**
 * @typedef {import("./messages.mjs").State} State
 * @typedef {import("./messages.mjs").Start} Start
 * @typedef {import("./messages.mjs").Tune} Tune
 * @typedef {import("./messages.mjs").ToPage} ToPage
 * @typedef {import("./messages.mjs").Tuning} Tuning
 * @typedef {import("./shard_fetch.mjs").Hasher} Hasher
 */

const BASE = self.location.origin;
const LOCK = 'synapse-volunteer';

/** @type {Tuning} */
const tuning = { intensity: 100, maxBytes: 512e6 };
const effort = effortOf(tuning.intensity, 1);
const counts = newCounts();
/** @type {AbortController|null} */
let running = null;
/** @type {(() => void)|null} while a volunteer runs */
let retune = null;
/** @type {Promise<void>} */
let ended = Promise.resolve();

/** @param {ToPage} message */
function tell(message) {
  self.postMessage(message);
}

/** @param {State} state */
function tellState(state) {
  tell({ kind: 'state', state });
}

/** @param {string} file */
function moduleUrl(file) {
  return new URL(`./${file}`, import.meta.url).href;
}

/** Look at the device and at what the server offers. Downloads no model. */
async function look() {
  const features = await findFeatures();
  try {
    const store = await openStore(features.storage);
    const models = [];
    for (const model of await listModels(BASE, AbortSignal.timeout(20000))) {
      let missing = 0;
      for (const s of model.shards) if (!(await store.get(s.sha256, s.bytes))) missing += s.bytes;
      const least = Math.min(...model.shards.map((s) => s.bytes));
      models.push({ id: model.id, name: model.name, bytes: model.bytes, missing, least });
    }
    tell({ kind: 'found', features, models, problem: null });
  } catch (error) {
    tell({ kind: 'found', features, models: [], problem: textOf(error) });
  }
}

/** @param {Start} m */
function start(m) {
  stop();
  const control = new AbortController();
  running = control;
  Object.assign(tuning, m.tuning);
  ended = ended.then(async () => {
    try {
      await alone(() => contribute(m, control.signal), control.signal);
    } catch (error) {
      if (!control.signal.aborted) tellState({ name: 'failed', detail: textOf(error) });
    }
    if (control.signal.aborted && running === control) tellState({ name: 'stopped' });
  });
}

function stop() {
  running?.abort(new DOMException('stopped', 'AbortError'));
}

/**
 * One volunteer a browser profile: a second tab waits for the first to end.
 * Where there are no locks (no secure context) every tab works.
 * @param {() => Promise<void>} work
 * @param {AbortSignal} signal
 */
async function alone(work, signal) {
  if (!navigator.locks) return work();
  const timer = setTimeout(() => tellState({
    name: 'standby',
    detail: 'Another tab of this browser is contributing. This one takes over when that one stops.',
  }), 500);
  try {
    await navigator.locks.request(LOCK, { signal }, () => {
      clearTimeout(timer);
      return work();
    });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * @param {Start} m
 * @param {AbortSignal} signal
 */
async function contribute(m, signal) {
  tellState({ name: 'probing' });
  const features = await findFeatures();
  const most = threadsMost(features);
  Object.assign(effort, effortOf(tuning.intensity, most));
  const { engine, wasm, backend } = await openBest(features, m.gpu, most);
  // Threads do not help a GPU, so there pauses are all there is.
  const duty = () => effortOf(tuning.intensity, backend === 'webgpu' ? 1 : most).duty;
  effort.duty = duty();
  const hashes = await WasmEngine.open(wasm);
  /** @type {RemoteEngine|null} */
  let spare = engine; // the one that proved itself is the first to be used
  const models = new Models({
    base: BASE,
    store: await openStore(features.storage),
    newHasher: () => hashes.newHasher(),
    newEngine: async () => {
      const next = spare ?? newRemote();
      if (!spare) await next.open(wasm, backend === 'webgpu' ? m.gpu : 'never', { threads: effort.threads, most });
      spare = null;
      return next;
    },
    tuning,
    onState: tellState,
    onTrouble: (text) => tell({ kind: 'trouble', text }),
    onBytes: (n) => { counts.bytesDown += n; tell({ kind: 'counts', counts }); },
    onHeld: (spans, bytes, threads) => tell({ kind: 'held', spans, bytes, threads }),
  });
  retune = () => {
    const { threads } = effortOf(tuning.intensity, most);
    const changed = threads !== effort.threads;
    Object.assign(effort, { threads, duty: duty() });
    if (changed) models.useThreads(threads).catch(() => {}); // an engine that ended tells its caller
  };
  const onStop = () => { spare?.end('stopped'); models.drop('stopped'); };
  signal.addEventListener('abort', onStop, { once: true });
  try {
    await memberships(m, backend, models, hashes, signal);
  } finally {
    signal.removeEventListener('abort', onStop);
    retune = null;
    onStop();
  }
}

/** An engine whose notes the page shows. */
function newRemote() {
  const engine = new RemoteEngine();
  engine.onNote = (text) => tell({ kind: 'engine', text });
  return engine;
}

/**
 * The fastest engine that gets the known unit right.
 * @param {import("./features.mjs").Features} features
 * @param {import("./messages.mjs").GpuUse} gpu
 * @param {number} most  threads that there may be
 */
async function openBest(features, gpu, most) {
  if (!features.simd)
    throw new Error('This browser lacks WebAssembly SIMD, which the engine needs. A newer browser will do.');
  const kinds = features.relaxed ? ['relaxed', 'simd'] : ['simd'];
  const files = kinds.flatMap((kind) => [...(features.isolated ? [`synapse-${kind}-threads.wasm`] : []), `synapse-${kind}.wasm`]);
  let why = '';
  for (const file of files) {
    const engine = newRemote();
    try {
      const { backend } = await engine.open(moduleUrl(file), features.webgpu ? gpu : 'never', { threads: effort.threads, most });
      return { engine, wasm: moduleUrl(file), backend };
    } catch (error) {
      engine.end('it did not prove itself');
      why = textOf(error);
      tell({ kind: 'trouble', text: `${file} cannot be used here: ${why}` });
    }
  }
  throw new Error(`No engine works in this browser: ${why}`);
}

/**
 * Join, work, and join again whenever the server no longer knows us.
 * @param {Start} m
 * @param {string} backend
 * @param {Models} models
 * @param {WasmEngine} hashes  which solves proofs of work
 * @param {AbortSignal} signal
 */
async function memberships(m, backend, models, hashes, signal) {
  const backoff = new Backoff(500, 30000);
  const who = { account: m.account, name: m.name, backend };
  const pay = (/** @type {string} */ challenge, /** @type {number} */ bits) => payToll(hashes, challenge, bits, (tries) => {
    tellState({ name: 'paying', done: tries, total: 2 ** bits });
  }, signal);
  for (;;) {
    /** @type {Membership|null} */
    let member = null;
    try {
      tellState({ name: 'joining' });
      await models.prepare(await listModels(BASE, signal), signal);
      tellState({ name: 'joining' });
      member = await Membership.join(BASE, { ...who, threads: Math.max(1, models.threads()), memory: models.bound() }, pay, signal);
      const { id, token, accountId, name } = member;
      tell({ kind: 'joined', id, token, accountId, name, backend });
      backoff.reset();
      const hooks = {
        onState: tellState,
        onCounts: () => tell({ kind: 'counts', counts }),
        onTrouble: (/** @type {string} */ text) => tell({ kind: 'trouble', text }),
      };
      await new WorkLoop(member, models, effort, counts, hooks).run(signal);
    } catch (error) {
      if (!(error instanceof RejoinError)) member?.leave();
      signal.throwIfAborted();
      if (!isPassing(error)) throw error;
      const ms = backoff.next();
      const again = `Trying again in ${Math.max(1, Math.round(ms / 1000))} s.`;
      tellState({ name: 'retrying', detail: `${textOf(error)} ${again}` });
      await sleep(ms, signal);
    }
  }
}

/**
 * Whether it may be over after a while.
 * @param {unknown} error
 */
function isPassing(error) {
  if (error instanceof HttpError) return error.status === 428 || error.status === 429 || error.status >= 500;
  return error instanceof NetworkError || error instanceof RejoinError;
}

/** @param {unknown} error */
function textOf(error) {
  const text = error instanceof Error ? error.message : String(error);
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return error instanceof TooLargeError || /[.!?]$/.test(first) ? first : `${first}.`;
}

const table = {
  look: () => void look(),
  start,
  stop,
  tune: (/** @type {Tune} */ m) => {
    Object.assign(tuning, m.tuning);
    retune?.();
  },
};
self.onmessage = (event) => dispatch(table, event.data);
