// @ts-check
// probe.mjs - a known piece of work: a tiny model, a unit for it and the answer
// of the reference kernels. An engine that does not give that answer byte for
// byte is not used. tests/web/probe_make.c writes probe.bin.

import { WasmEngine } from './engine_wasm.mjs';
import { CRC_LEN, unitInfo } from './syn1.mjs';

const HEAD = 12; // three u32 lengths: shard, unit, result
const MEMORY = 64e6;
const NUMBER = [64, 72]; // the header's compute time, which is not compared

/**
 * @typedef {WasmEngine|import("./webgpu_engine.mjs").WebGpuEngine|import("./engine_pair.mjs").EnginePair} Prover
 *
 * @typedef {object} Probe
 * @property {Uint8Array<ArrayBuffer>} shard
 * @property {Uint8Array<ArrayBuffer>} unit
 * @property {Uint8Array<ArrayBuffer>} result
 */

/**
 * @param {Uint8Array<ArrayBuffer>} bytes  probe.bin
 * @returns {Probe}
 */
export function parseProbe(bytes) {
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEAD) throw new Error('the probe ends early');
  const [shard, unit, result] = [0, 4, 8].map((at) => v.getUint32(at, true));
  if (HEAD + shard + unit + result !== bytes.length) throw new Error("the probe's length does not add up");
  return {
    shard: bytes.slice(HEAD, HEAD + shard),
    unit: bytes.slice(HEAD + shard, HEAD + shard + unit),
    result: bytes.slice(HEAD + shard + unit),
  };
}

/**
 * Let an engine prove itself. It is used up by that. Throws if it fails.
 * @param {Prover} engine
 * @param {Probe} probe
 * @returns {Promise<number>} the milliseconds that the unit took
 */
export async function prove(engine, probe) {
  const hash = engine.newHasher();
  hash.update(probe.shard);
  const shard = { name: 'probe', blob: new Blob([probe.shard]), sha256: hash.hex() };
  await engine.load(unitInfo(probe.unit).model, [shard], MEMORY, () => {});
  const start = performance.now();
  const result = await engine.run(probe.unit);
  const ms = performance.now() - start;
  result.fill(0, ...NUMBER);
  const end = probe.result.length - CRC_LEN;
  if (result.length !== probe.result.length || probe.result.subarray(0, end).some((b, i) => b !== result[i]))
    throw new Error('its answer to a known piece of work was wrong');
  return ms;
}

/** @returns {Promise<Probe>} */
export async function fetchProbe() {
  const url = new URL('./probe.bin', import.meta.url);
  const response = await fetch(url, { signal: AbortSignal.timeout(30000) });
  if (!response.ok) throw new Error(`the probe could not be fetched (${response.status})`);
  return parseProbe(new Uint8Array(await response.arrayBuffer()));
}

/**
 * Let a module prove itself.
 * @param {string} wasm     URL of the module
 * @param {number} threads  that compute
 * @returns {Promise<number>} milliseconds
 */
export async function probeModule(wasm, threads) {
  const engine = await WasmEngine.open(wasm, threads);
  try {
    await engine.useThreads(threads);
    return await prove(engine, await fetchProbe());
  } finally {
    engine.close();
  }
}
