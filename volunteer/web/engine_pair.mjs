// @ts-check
// engine_pair.mjs - the GPU's engine with the WASM one behind it. The GPU is
// used only if it gets the known unit right byte for byte and is the faster of
// the two on this device; when it fails later, WASM takes over at once and
// computes the unit again from what the server sends.

import { BENCH_ID, benchAsks, benchShard, benchUnit } from './bench_model.mjs';
import { ShardMismatch, WasmEngine } from './engine_wasm.mjs';
import { fetchProbe, prove } from './probe.mjs';
import { Syn1Error } from './syn1.mjs';
import { WebGpuEngine } from './webgpu_engine.mjs';

const SHAPE = { layers: 2, width: 512, heads: 8, vocab: 4096, context: 64 };
const MEMORY = 64e6;

/**
 * @typedef {import("./messages.mjs").ShardBlob} ShardBlob
 * @typedef {{gpu: WebGpuEngine|null, note: string}} Choice  and, for people, why
 *
 * @typedef {object} PairOptions
 * @property {boolean} [always]  the GPU, whenever it gets the known unit right
 * @property {number} [threads]  that WASM computes with
 * @property {import("./bench_model.mjs").Shape} [shape]  of the model that both are tried on
 */

/**
 * Milliseconds of a unit of eight short sequences, once it is warm.
 * @param {WasmEngine|WebGpuEngine} engine  used up by this
 * @param {ShardBlob} shard
 * @param {number} vocab
 */
async function trial(engine, shard, vocab) {
  await engine.load(BENCH_ID, [shard], MEMORY, () => {});
  const unit = benchUnit(benchAsks(8, 16, 16, vocab));
  await engine.run(unit);
  const start = performance.now();
  await engine.run(unit);
  const ms = performance.now() - start;
  engine.close();
  return ms;
}

/**
 * Whether the GPU of this device is worth using. Throws if there is none.
 * @param {() => Promise<WasmEngine>} newWasm
 * @param {GPU|undefined} gpu
 * @param {Required<PairOptions>} options
 * @returns {Promise<Choice>}
 */
async function choose(newWasm, gpu, { always, threads, shape }) {
  const wasm = await newWasm();
  const start = () => WebGpuEngine.start(gpu, { newHasher: () => wasm.newHasher() });
  const first = await start();
  const { adapter, software } = first.hold.info;
  if (software && !always) {
    first.close();
    return { gpu: null, note: `${adapter} is no real GPU.` };
  }
  await prove(first, await fetchProbe());
  first.close();
  const take = async (/** @type {string} */ note) => {
    const hasher = await newWasm();
    return { gpu: await WebGpuEngine.start(gpu, { newHasher: () => hasher.newHasher() }), note };
  };
  if (always) return take(`Computing on ${adapter}, as you chose.`);
  const blob = benchShard(shape);
  const hash = wasm.newHasher();
  hash.update(new Uint8Array(await blob.arrayBuffer()));
  const shard = { name: 'trial', blob, sha256: hash.hex() };
  const gpuMs = await trial(await start(), shard, shape.vocab);
  await wasm.useThreads(threads);
  const wasmMs = await trial(wasm, shard, shape.vocab);
  const times = (wasmMs / gpuMs).toFixed(1);
  if (gpuMs >= wasmMs) return { gpu: null, note: `${adapter} is slower than WebAssembly here.` };
  return take(`Computing on ${adapter}, ${times} times as fast as WebAssembly here.`);
}

export class EnginePair {
  /**
   * @param {() => Promise<WasmEngine>} newWasm  each a fresh one
   * @param {GPU|undefined} gpu                  undefined: do without
   * @param {(text: string) => void} onNote      what people should know
   * @param {PairOptions} [options]
   */
  static async open(newWasm, gpu, onNote, { always = false, threads = 1, shape = SHAPE } = {}) {
    const wasm = await newWasm();
    /** @type {Choice} */
    let choice = { gpu: null, note: '' };
    if (gpu) {
      try {
        choice = await choose(newWasm, gpu, { always, threads, shape });
      } catch (error) {
        choice.note = `The GPU is not used: ${/** @type {Error} */ (error).message}.`;
      }
    }
    if (choice.note) onNote(choice.note);
    await wasm.useThreads(threads);
    return new EnginePair(wasm, choice.gpu, onNote);
  }

  /**
   * @param {WasmEngine} wasm
   * @param {WebGpuEngine|null} gpu
   * @param {(text: string) => void} onNote
   */
  constructor(wasm, gpu, onNote) {
    this.wasm = wasm;
    this.gpu = gpu;
    this.onNote = onNote;
    this.told = false; // that threads are not used
    /** @type {[string, ShardBlob[], number]|null} what is loaded */
    this.model = null;
    /** @type {[string, ShardBlob[], number]|null} what WASM has beside the GPU */
    this.seconded = null;
  }

  newHasher() {
    return this.wasm.newHasher();
  }

  get backend() {
    return (this.gpu ?? this.wasm).backend;
  }

  /**
   * As WasmEngine.load.
   * @param {string} id
   * @param {ShardBlob[]} shards
   * @param {number} maxBytes
   * @param {(done: number) => void} onBytes
   */
  async load(id, shards, maxBytes, onBytes) {
    this.model = [id, shards, maxBytes];
    if (this.gpu) {
      try {
        return await this.gpu.load(id, shards, maxBytes, onBytes);
      } catch (error) {
        if (error instanceof ShardMismatch) throw error;
        this.giveUp(error);
      }
    }
    await this.wasm.load(id, shards, maxBytes, onBytes);
    this.tellBroken();
  }

  /** Say once why threads are not used. */
  tellBroken() {
    const why = this.wasm.threads?.broken;
    if (why && !this.told) this.onNote(`One processor thread computes, as others do not start: ${why}.`);
    this.told ||= Boolean(why);
  }

  /** @param {unknown} error */
  giveUp(error) {
    this.gpu?.close();
    this.gpu = null;
    this.onNote(`The GPU failed, WebAssembly goes on: ${error instanceof Error ? error.message : String(error)}`);
  }

  /**
   * @param {Uint8Array} frame
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async run(frame) {
    if (this.gpu) {
      if (!this.gpu.supports(frame)) return this.second(frame);
      try {
        return await this.gpu.run(frame);
      } catch (error) {
        if (error instanceof Syn1Error || !this.model) throw error;
        this.giveUp(error);
        return this.second(frame);
      }
    }
    return this.wasm.run(frame);
  }

  /**
   * On WASM: while the GPU goes on with what it can, or since it failed.
   * @param {Uint8Array} frame
   */
  async second(frame) {
    if (this.model && this.seconded !== this.model) {
      await this.wasm.load(...this.model, () => {});
      this.seconded = this.model;
    }
    return this.wasm.run(frame);
  }

  /** Hashes of pieces of shards that WASM has hashed whole. */
  get noted() {
    return this.wasm.noted;
  }

  /** Threads that compute; 0 while the GPU does. */
  get threadCount() {
    return this.gpu ? 0 : this.wasm.threadCount;
  }

  /** @param {number} n  threads that WASM computes with */
  async useThreads(n) {
    await this.wasm.useThreads(n);
    this.tellBroken();
  }

  /** Bytes of memory taken, as far as it is known: what a GPU holds is its own. */
  bytes() {
    return this.wasm.bytes();
  }

  freeSlots() {
    return (this.gpu ?? this.wasm).freeSlots();
  }
}
