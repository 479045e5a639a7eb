// @ts-check
// threads.mjs - the threads of a module with shared memory (pool.h): workers
// that are started and let go as the number wanted changes, between units.
// Where one does not start, the module goes on without any.

const START_MS = 10000; // that a worker may take to start
const PAGES_FIRST = 64;
const PAGES_MAX = [65536, 16384]; // of 64 KiB; browsers on small devices reserve less than 4 GB

/**
 * @typedef {object} Seat     what a worker needs to take part
 * @property {WebAssembly.Module} module
 * @property {WebAssembly.Memory} memory
 * @property {number} pool
 * @property {number} index   1 ..
 * @property {number} stack
 *
 * @typedef {object} PoolExports  the functions of pool.h; pointers are offsets
 * @property {(most: number) => number} pool_new
 * @property {(pool: number, worker: number) => number} pool_stack
 * @property {(pool: number, n: number) => void} pool_size
 * @property {() => number} pool_runner
 *
 * @typedef {Pick<Worker, "postMessage"|"terminate"|"onmessage"|"onerror">} ThreadWorker
 *
 * @typedef {object} Thread
 * @property {ThreadWorker} worker
 * @property {Promise<void>} ready
 * @property {Promise<void>} gone   it works no more
 */

/** What a module imports besides its memory. */
export function hostImports() {
  return { now_ms: () => performance.now(), step: () => 1 };
}

/** Memory that threads can share. Throws where there is none. */
export function sharedMemory() {
  for (const maximum of PAGES_MAX) {
    try {
      return new WebAssembly.Memory({ initial: PAGES_FIRST, maximum, shared: true });
    } catch (error) {
      if (maximum === PAGES_MAX[PAGES_MAX.length - 1]) throw error;
    }
  }
  throw new Error('not reached');
}

/** @returns {ThreadWorker} */
function webWorker() {
  return new Worker(new URL('./thread_worker.mjs', import.meta.url), { type: 'module', name: 'engine thread' });
}

export class Threads {
  /**
   * @param {WebAssembly.Module} module
   * @param {WebAssembly.Memory} memory
   * @param {PoolExports} wasm        the instance that calls pool_run
   * @param {number} most             threads that there may ever be
   * @param {() => ThreadWorker} [newWorker]
   */
  constructor(module, memory, wasm, most, newWorker = webWorker) {
    this.module = module;
    this.memory = memory;
    this.wasm = wasm;
    this.most = most;
    this.newWorker = newWorker;
    this.pool = wasm.pool_new(most) >>> 0;
    if (!this.pool) throw new Error('out of memory');
    this.runner = wasm.pool_runner();
    /** @type {Thread[]} of workers 1 .. */
    this.started = [];
    /** @type {string|null} why there are none any more */
    this.broken = null;
  }

  /** Threads that compute, this one included. */
  get count() {
    return 1 + this.started.length;
  }

  /**
   * Let n threads compute, this one included; not while a unit runs.
   * @param {number} n
   * @returns {Promise<number>} how many there are now
   */
  async resize(n) {
    const wanted = this.broken === null ? Math.max(1, Math.min(this.most, Math.floor(n))) : 1;
    const leaving = this.started.splice(wanted - 1);
    this.wasm.pool_size(this.pool, wanted);
    await Promise.all(leaving.map((thread) => thread.gone));
    while (this.count < wanted) this.started.push(this.start(this.count));
    try {
      await Promise.all(this.started.map((thread) => thread.ready));
    } catch (error) {
      this.end(error instanceof Error ? error.message : String(error));
    }
    return this.count;
  }

  /**
   * @param {number} index
   * @returns {Thread}
   */
  start(index) {
    const worker = this.newWorker();
    const seat = { module: this.module, memory: this.memory, pool: this.pool, index, stack: this.wasm.pool_stack(this.pool, index) };
    /** @type {() => void} */
    let leave = () => {};
    const gone = /** @type {Promise<void>} */ (new Promise((resolve) => { leave = resolve; }));
    const ready = /** @type {Promise<void>} */ (new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('a thread did not start in time')), START_MS);
      /** @param {string} why */
      const end = (why) => {
        clearTimeout(timer);
        worker.terminate();
        leave();
        reject(new Error(why || 'a thread ended')); // no matter once it was ready
      };
      worker.onmessage = ({ data }) => {
        if (!data.ready) return end(data.gone);
        clearTimeout(timer);
        resolve();
      };
      worker.onerror = (event) => end(event.message || 'a thread did not start');
      worker.postMessage(seat);
    }));
    return { worker, ready, gone };
  }

  /**
   * Go on without threads.
   * @param {string} why
   */
  end(why) {
    this.broken = why;
    this.wasm.pool_size(this.pool, 1);
    for (const { worker } of this.started) worker.terminate();
    this.started = [];
  }
}
