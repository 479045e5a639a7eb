// @ts-check
// engine_remote.mjs - the engine, in a worker of its own, so that computing
// never holds up the network and stopping is immediate. Every engine (WASM, or
// WebGPU with WASM behind it) offers open, load and run.

import { dispatch } from './messages.mjs';

/**
 * @typedef {import("./messages.mjs").ShardBlob} ShardBlob
 *
 * @typedef {object} Opened
 * @property {string} backend    "webgpu", "wasm-relaxed" or "wasm-simd"
 * @property {number} probeMs    what the known unit took
 *
 * @typedef {object} Loaded
 * @property {number} slots      sequences it has room for
 * @property {number} bytes      of memory that the engine has taken
 * @property {number} threads    that compute; 0: a GPU does
 * @property {[string, import("./shard_store.mjs").Pieces][]} noted  by the SHA-256 of shards
 *
 * @typedef {object} Ran
 * @property {Uint8Array<ArrayBuffer>} result  a SYN1 result frame
 * @property {number} bytes      of memory that the engine has taken
 *
 * @typedef {{resolve: (value: any) => void, reject: (error: Error) => void}} Waiter
 */

/** The engine said no. `shard` is the SHA-256 of a shard that is not intact;
 * `noRoom`: the memory it may take does not do. */
export class EngineError extends Error {
  /**
   * @param {string} text
   * @param {string|null} shard
   * @param {boolean} noRoom
   */
  constructor(text, shard = null, noRoom = false) {
    super(text);
    this.shard = shard;
    this.noRoom = noRoom;
  }
}

export class RemoteEngine {
  constructor() {
    this.worker = new Worker(new URL('./engine_worker.mjs', import.meta.url), { type: 'module', name: 'engine' });
    /** @type {Map<number, Waiter>} */
    this.waiters = new Map();
    this.calls = 0;
    /** @type {string|null} why it can no longer be used */
    this.dead = null;
    /** @type {(done: number, total: number) => void} */
    this.onLoading = () => {};
    /** @type {(text: string) => void} what people should know */
    this.onNote = () => {};
    const table = {
      done: (/** @type {import("./messages.mjs").Done} */ m) => this.settle(m.call)?.resolve(m.value),
      failed: (/** @type {import("./messages.mjs").Failed} */ m) =>
        this.settle(m.call)?.reject(new EngineError(m.text, m.shard, m.name === 'NoRoomError')),
      note: (/** @type {import("./messages.mjs").Note} */ m) => this.onNote(m.text),
      loading: (/** @type {import("./messages.mjs").Loading} */ m) => this.onLoading(m.done, m.total),
    };
    this.worker.onmessage = (event) => dispatch(table, event.data);
    this.worker.onerror = (event) => this.end(event.message || "the engine's worker did not start");
  }

  /** @param {number} call */
  settle(call) {
    const waiter = this.waiters.get(call);
    this.waiters.delete(call);
    return waiter;
  }

  /**
   * @param {any} message
   * @returns {Promise<any>}
   */
  ask(message) {
    if (this.dead) return Promise.reject(new EngineError(this.dead));
    const call = ++this.calls;
    return new Promise((resolve, reject) => {
      this.waiters.set(call, { resolve, reject });
      this.worker.postMessage({ ...message, call });
    });
  }

  /**
   * Compile and start an engine, and let it prove itself.
   * @param {string} wasm  URL of the module
   * @param {import("./messages.mjs").GpuUse} gpu
   * @param {{threads: number, most: number}} threads  that compute, and that ever may
   * @returns {Promise<Opened>}
   */
  open(wasm, gpu, { threads, most }) {
    return this.ask({ kind: 'open', wasm, gpu, threads, most });
  }

  /**
   * Compute with so many threads, from the next unit on.
   * @param {number} threads
   * @returns {Promise<number>} how many there are then; 0: a GPU computes
   */
  useThreads(threads) {
    return this.ask({ kind: 'threads', threads });
  }

  /**
   * Read a span's shards into the engine; their SHA-256 is checked on the way.
   * @param {string} model        64 hex digits
   * @param {ShardBlob[]} shards
   * @param {number} maxBytes     what the engine may use in all
   * @returns {Promise<Loaded>}
   */
  load(model, shards, maxBytes) {
    return this.ask({ kind: 'load', model, shards, maxBytes });
  }

  /**
   * @param {Uint8Array} frame  a unit
   * @returns {Promise<Ran>}
   */
  run(frame) {
    return this.ask({ kind: 'run', frame });
  }

  /**
   * Stop at once. Whoever waits gets an error.
   * @param {string} why
   */
  end(why) {
    this.worker.terminate();
    this.dead = why;
    for (const waiter of this.waiters.values()) waiter.reject(new EngineError(why));
    this.waiters.clear();
  }
}
