// @ts-check
// features.mjs - what this browser can do, found by trying. Runs in a worker.

/**
 * @typedef {object} Features
 * @property {boolean} secure      a secure context (https or localhost)
 * @property {boolean} simd        WASM SIMD: without it nothing can be computed
 * @property {boolean} relaxed     WASM relaxed SIMD: about four times as fast
 * @property {boolean} webgpu      told for completeness
 * @property {"opfs"|"cache"|"memory"} storage  where shards are kept
 * @property {number} quota        bytes that storage may still take, 0: not known
 * @property {number} cores
 * @property {boolean} isolated    the page may share memory between threads
 * @property {number} memory       bytes, rounded down by the browser, 0: not known
 */

// (module (func (result v128) (i8x16.splat (i32.const 0))))
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];

// The same with three splats and i32x4.relaxed_dot_i8x16_i7x16_add_s.
const RELAXED = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0,
  65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 147, 2, 11,
];

/** @returns {Promise<Features>} */
export async function findFeatures() {
  const simd = WebAssembly.validate(new Uint8Array(SIMD));
  return {
    secure: self.isSecureContext === true,
    simd,
    relaxed: simd && WebAssembly.validate(new Uint8Array(RELAXED)),
    webgpu: 'gpu' in navigator,
    storage: await findStorage(),
    quota: await findQuota(),
    cores: navigator.hardwareConcurrency || 1,
    isolated: self.crossOriginIsolated === true,
    memory: (/** @type {any} */ (navigator).deviceMemory ?? 0) * 2 ** 30,
  };
}

/** @returns {Promise<"opfs"|"cache"|"memory">} */
async function findStorage() {
  try {
    const root = await navigator.storage.getDirectory();
    const file = await root.getFileHandle('synapse-trial', { create: true });
    if (typeof (/** @type {any} */ (file).createSyncAccessHandle) === 'function') {
      await root.removeEntry('synapse-trial');
      return 'opfs';
    }
  } catch {
    // Not there, or refused (private windows do that).
  }
  try {
    await caches.open('synapse-shards');
    return 'cache';
  } catch {
    return 'memory';
  }
}

/** @returns {Promise<number>} */
async function findQuota() {
  try {
    const { quota = 0, usage = 0 } = await navigator.storage.estimate();
    return Math.max(0, quota - usage);
  } catch {
    return 0;
  }
}
