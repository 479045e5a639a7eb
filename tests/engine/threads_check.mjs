// @ts-check
// threads_check.mjs - the committed digest with a pool of threads whose size
// changes. Runs in Node and, as a worker, in a browser.

import { Threads, hostImports, sharedMemory } from '../../volunteer/web/threads.mjs';

const SIZES = [1, 2, 3, 2, 1, 3];

/**
 * Start a module of twins_wasm.c that has threads.
 * @param {BufferSource} bytes
 * @param {() => import("../../volunteer/web/threads.mjs").ThreadWorker} [newWorker]
 */
export async function startTwins(bytes, newWorker) {
  const module = await WebAssembly.compile(bytes);
  const memory = sharedMemory();
  const instance = await WebAssembly.instantiate(module, { env: { ...hostImports(), memory } });
  const wasm = /** @type {any} */ (instance.exports);
  wasm._initialize();
  const threads = new Threads(module, memory, wasm, 3, newWorker);
  return {
    threads,
    /** @param {number} isa @returns {string} "" if all is well */
    digest(isa) {
      const ptr = wasm.digest(isa, threads.runner, threads.pool, threads.most) >>> 0;
      if (ptr === 0) return 'the module has no such kernels';
      const rest = new Uint8Array(memory.buffer, ptr);
      return new TextDecoder().decode(rest.slice(0, rest.indexOf(0)));
    },
    lose: () => wasm.pool_lost(threads.pool),
  };
}

/**
 * @param {BufferSource} bytes
 * @param {number} isa
 * @param {() => import("../../volunteer/web/threads.mjs").ThreadWorker} [newWorker]
 * @returns {Promise<string>} what went wrong; "" if all is well
 */
export async function checkThreads(bytes, isa, newWorker) {
  const twins = await startTwins(bytes, newWorker);
  try {
    for (const n of SIZES) {
      const got = await twins.threads.resize(n);
      if (got !== n) return `${got} of ${n} threads started: ${twins.threads.broken}`;
      const why = twins.digest(isa);
      if (why) return `${n} threads: ${why}`;
    }
    return '';
  } finally {
    twins.threads.end('checked');
  }
}

if (typeof document === 'undefined' && typeof location !== 'undefined')
  self.onmessage = async ({ data: { url, isa } }) => {
    const bytes = await (await fetch(url)).arrayBuffer();
    self.postMessage(await checkThreads(bytes, isa).catch(String));
  };
