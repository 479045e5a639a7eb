// @ts-check
// thread_worker.mjs - one thread of an engine: an instance of its module over
// the same memory, with a stack of its own, that works for the pool until that
// is too small for it. The message that starts it is a `Seat` of threads.mjs;
// it answers { ready: true } before it works, and { gone: why } at the end, why
// being "" unless it failed.

import { hostImports } from './threads.mjs';

self.onmessage = async (event) => {
  const { module, memory, pool, index, stack } = /** @type {import("./threads.mjs").Seat} */ (event.data);
  let why = '';
  try {
    const instance = await WebAssembly.instantiate(module, { env: { ...hostImports(), memory } });
    const wasm = /** @type {any} */ (instance.exports);
    wasm.__stack_pointer.value = stack;
    self.postMessage({ ready: true });
    try {
      wasm.pool_work(pool, index);
    } catch (error) {
      wasm.pool_lost(pool);
      throw error;
    }
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
  }
  self.postMessage({ gone: why });
};
