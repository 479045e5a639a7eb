// @ts-check
// engine_wasm.mjs - the C engine as a WebAssembly module, by the functions of
// wasm.h. It knows no network and no worker, so it runs in Node as well.

import { headerLength, parseHeader } from './safetensors.mjs';
import { fromHex, toHex } from './syn1.mjs';
import { Threads, hostImports, sharedMemory } from './threads.mjs';

const PIECE = 4 << 20;
const MODEL_LEN = 16;
const SHA256_LEN = 32;
const TOLL_LEN = 40;
const BASE = 6e6; // bytes of the module itself, and of frames while they are in hand
const REST_MAX = 1e9; // of KV and scratch
const FULL = 13; // ERR_FULL of enum err
const DTYPES = Object.freeze({ I8: 1, U8: 2, I16: 3, I32: 4 }); // enum tensor_dtype

/**
 * @typedef {import("./shard_fetch.mjs").Hasher} Hasher
 * @typedef {import("./messages.mjs").ShardBlob} ShardBlob
 * @typedef {import("./shard_store.mjs").Pieces} Pieces
 *
 * @typedef {object} Exports  the functions of wasm.h; pointers are offsets
 * @property {WebAssembly.Memory} memory
 * @property {() => void} [_initialize]
 * @property {() => number} host_new
 * @property {(len: number) => number} host_alloc
 * @property {(ptr: number) => void} host_dealloc
 * @property {(host: number) => void} host_sha256_start
 * @property {(host: number, ptr: number, len: number) => void} host_sha256_add
 * @property {(host: number) => number} host_sha256_end
 * @property {(challenge: number, len: number, toll: number) => void} host_toll_begin
 * @property {(toll: number, tries: number, bits: number) => number} host_toll_search
 * @property {(host: number) => number} host_shard
 * @property {(host: number, name: number, nameLen: number, dtype: number, nDims: number,
 *   dims: number, data: number, nBytes: number) => number} host_tensor
 * @property {(host: number, parallel: number, ctx: number, workers: number) => void} host_parallel
 * @property {(host: number, model: number, slots: number, maxBytes: number, isa: number) => number} host_bind
 * @property {(host: number, frame: number, len: number) => number} host_run
 * @property {(host: number) => number} host_out
 * @property {(host: number) => number} host_out_len
 * @property {(host: number) => number} host_free_slots
 * @property {(host: number) => number} host_why
 * @property {(err: number) => number} host_err_text
 * @property {(host: number) => number} host_kernels
 */

/** What was to be loaded does not fit the memory that it may take. */
export class NoRoomError extends Error {
  name = 'NoRoomError';
}

/** A shard's bytes are not those of its SHA-256. */
export class ShardMismatch extends Error {
  /** @param {string} sha256 */
  constructor(sha256) {
    super('a stored file is damaged');
    this.sha256 = sha256;
  }
}

export class WasmEngine {
  /**
   * Compile and start a module from its URL.
   * @param {string} url
   * @param {number} [most]  threads that it may ever use
   * @returns {Promise<WasmEngine>}
   */
  static async open(url, most = 1) {
    const response = await fetch(url, { signal: AbortSignal.timeout(60000) });
    if (!response.ok) throw new Error(`the engine could not be fetched (${response.status})`);
    const bytes = await response.arrayBuffer();
    return WasmEngine.start(bytes, /relaxed/.test(url) ? 'wasm-relaxed' : 'wasm-simd', most);
  }

  /**
   * @param {BufferSource} bytes   of the module, which is for threads if it imports its memory
   * @param {string} backend
   * @param {number} [most]        threads that it may ever use
   * @param {() => import("./threads.mjs").ThreadWorker} [newWorker]
   * @returns {Promise<WasmEngine>}
   */
  static async start(bytes, backend, most = 1, newWorker) {
    const module = await WebAssembly.compile(bytes);
    const shared = WebAssembly.Module.imports(module).some((i) => i.kind === 'memory');
    const memory = shared ? sharedMemory() : null;
    const instance = await WebAssembly.instantiate(module, { env: { ...hostImports(), ...(memory && { memory }) } });
    const wasm = /** @type {any} */ (instance.exports);
    wasm._initialize?.();
    return new WasmEngine(wasm, backend, memory && new Threads(module, memory, wasm, most, newWorker));
  }

  /**
   * @param {Exports} wasm
   * @param {string} backend
   * @param {Threads|null} threads
   */
  constructor(wasm, backend, threads) {
    this.wasm = wasm;
    this.backend = backend;
    this.threads = threads;
    this.wanted = 1; // threads
    this.bound = false;
    /** @type {[string, Pieces][]} by the SHA-256 of shards that were hashed whole */
    this.noted = [];
    this.host = wasm.host_new();
    if (!this.host) throw new Error('out of memory');
  }

  /** Threads that compute. */
  get threadCount() {
    return this.threads?.count ?? 1;
  }

  /**
   * Compute with n threads from now on, as far as the module can. They are
   * started when a model is loaded.
   * @param {number} n
   */
  async useThreads(n) {
    this.wanted = n;
    if (this.bound) await this.threads?.resize(n);
  }

  /** It is not used any more. */
  close() {
    this.threads?.end('the engine is closed');
  }

  /**
   * A view of the module's memory, good until the next call into it.
   * @param {number} ptr
   * @param {number} len
   */
  view(ptr, len) {
    return new Uint8Array(this.wasm.memory.buffer, ptr >>> 0, len);
  }

  /** @param {number} len */
  alloc(len) {
    const ptr = this.wasm.host_alloc(len) >>> 0;
    if (!ptr) throw new Error(`out of memory: ${Math.ceil(len / 1e6)} MB more were needed`);
    return ptr;
  }

  /**
   * Put bytes into the module's memory for the time of a call.
   * @template T
   * @param {Uint8Array} bytes
   * @param {(ptr: number) => T} use
   * @returns {T}
   */
  lend(bytes, use) {
    const ptr = this.alloc(Math.max(1, bytes.length));
    this.view(ptr, bytes.length).set(bytes);
    try {
      return use(ptr);
    } finally {
      this.wasm.host_dealloc(ptr);
    }
  }

  /** @param {number} ptr  of a text that ends with a NUL */
  text(ptr) {
    const all = new Uint8Array(this.wasm.memory.buffer, ptr >>> 0);
    return new TextDecoder().decode(all.slice(0, Math.max(0, all.indexOf(0))));
  }

  /**
   * @param {number} err   enum err
   * @param {string} what  was being done
   */
  check(err, what) {
    if (err === 0) return;
    const why = this.text(this.wasm.host_why(this.host));
    const text = this.text(this.wasm.host_err_text(err));
    throw new (err === FULL ? NoRoomError : Error)(`${what}: ${why || text}`);
  }

  /** A SHA-256 over pieces; one at a time. @returns {Hasher} */
  newHasher() {
    const { wasm, host } = this;
    wasm.host_sha256_start(host);
    return {
      update: (bytes) => {
        for (let at = 0; at < bytes.length; at += PIECE) {
          const piece = bytes.subarray(at, at + PIECE);
          this.lend(piece, (ptr) => wasm.host_sha256_add(host, ptr, piece.length));
        }
      },
      hex: () => toHex(this.view(wasm.host_sha256_end(host), SHA256_LEN)),
    };
  }

  /**
   * A proof of work (base/toll.h) to be searched for.
   * @param {string} challenge
   * @returns {Uint8Array}
   */
  beginToll(challenge) {
    const bytes = new TextEncoder().encode(challenge);
    const toll = new Uint8Array(TOLL_LEN);
    this.lend(bytes, (ptr) => this.lend(toll, (out) => {
      this.wasm.host_toll_begin(ptr, bytes.length, out);
      toll.set(this.view(out, TOLL_LEN));
    }));
    return toll;
  }

  /**
   * Try some more nonces: is it paid now?
   * @param {Uint8Array} toll
   * @param {number} tries
   * @param {number} bits
   */
  searchToll(toll, tries, bits) {
    return this.lend(toll, (ptr) => {
      const paid = this.wasm.host_toll_search(ptr, tries, bits) === 1;
      toll.set(this.view(ptr, TOLL_LEN));
      return paid;
    });
  }

  /**
   * Read the shards of a span and bind them. Throws NoRoomError, at best
   * before it took anything.
   * @param {string} model         64 hex digits
   * @param {ShardBlob[]} shards   in order
   * @param {number} maxBytes      of memory, weights, KV and all else together
   * @param {(done: number) => void} onBytes
   */
  async load(model, shards, maxBytes, onBytes) {
    const left = maxBytes - BASE - shards.reduce((n, s) => n + s.blob.size, 0);
    if (left <= 0) throw new NoRoomError(`${megabytes(maxBytes)} do not hold ${megabytes(maxBytes - left)}`);
    const threads = this.threads?.resize(this.wanted);
    let done = 0;
    for (const shard of shards) {
      const ptr = await this.read(shard, (n) => onBytes(done + n));
      this.addShard(ptr, shard.blob.size);
      done += shard.blob.size;
    }
    await threads;
    if (this.threads) this.wasm.host_parallel(this.host, this.threads.runner, this.threads.pool, this.threads.most);
    const rest = Math.floor(Math.min(REST_MAX, left));
    const id = fromHex(model).subarray(0, MODEL_LEN);
    this.check(this.lend(id, (ptr) => this.wasm.host_bind(this.host, ptr, 0, rest, 0)), 'the model was refused');
    this.bound = true;
  }

  /**
   * A shard's bytes into memory, and their hash checked: piece by piece, so
   * that nothing holds them twice. The browser hashes several times as fast as
   * the module, where it offers that at all (in secure contexts), but only what
   * it is given whole: pieces whose hashes were noted once, when the module had
   * found the whole right. Each piece is hashed while the next one is read.
   * @param {ShardBlob} shard
   * @param {(done: number) => void} onBytes
   * @returns {Promise<number>} where they lie
   */
  async read({ blob, sha256, pieces }, onBytes) {
    const { wasm, host } = this;
    const subtle = globalThis.crypto?.subtle;
    const known = subtle && pieces?.bytes === PIECE && pieces.sha256.length === Math.ceil(blob.size / PIECE) ? pieces : null;
    const base = this.alloc(blob.size);
    const pieceAt = (/** @type {number} */ at) => blob.slice(at, at + PIECE).arrayBuffer();
    /** @type {string[]} */
    const hashes = [];
    wasm.host_sha256_start(host);
    let next = pieceAt(0);
    for (let at = 0; at < blob.size; at += PIECE) {
      const piece = new Uint8Array(await next);
      const hash = subtle?.digest('SHA-256', piece);
      next = pieceAt(at + PIECE);
      this.view(base + at, piece.length).set(piece);
      if (!known) wasm.host_sha256_add(host, base + at, piece.length);
      if (hash) hashes.push(toHex(new Uint8Array(await hash)));
      onBytes(at + piece.length);
    }
    const right = known ? known.sha256.every((hash, i) => hash === hashes[i])
      : toHex(this.view(wasm.host_sha256_end(host), SHA256_LEN)) === sha256;
    if (!right) {
      wasm.host_dealloc(base);
      throw new ShardMismatch(sha256);
    }
    if (!known && subtle) this.noted.push([sha256, { bytes: PIECE, sha256: hashes }]);
    return base;
  }

  /**
   * Tell the engine where each tensor of a shard lies.
   * @param {number} base   of the file
   * @param {number} bytes  of the file
   */
  addShard(base, bytes) {
    const { wasm, host } = this;
    const headBytes = 8 + headerLength(this.view(base, Math.min(8, bytes)), bytes);
    const tensors = parseHeader(this.view(base, headBytes).slice(), bytes);
    this.check(wasm.host_shard(host), 'a shard was refused');
    for (const t of tensors) {
      const name = new TextEncoder().encode(t.name);
      const dims = new Uint8Array(Uint32Array.from(t.dims).buffer);
      const err = this.lend(name, (namePtr) =>
        this.lend(dims, (dimsPtr) =>
          wasm.host_tensor(host, namePtr, name.length, DTYPES[t.dtype], t.dims.length, dimsPtr, base + t.offset, t.length)));
      this.check(err, `tensor ${t.name} was refused`);
    }
  }

  /** Bytes that the module has taken in all; they only grow. */
  bytes() {
    return this.wasm.memory.buffer.byteLength;
  }

  /** Sequences there is room for beyond those held. */
  freeSlots() {
    return this.wasm.host_free_slots(this.host);
  }

  /**
   * Compute a unit.
   * @param {Uint8Array} frame
   * @returns {Uint8Array<ArrayBuffer>} the result frame
   */
  run(frame) {
    const { wasm, host } = this;
    this.check(this.lend(frame, (ptr) => wasm.host_run(host, ptr, frame.length)), 'the unit was refused');
    return this.view(wasm.host_out(host), wasm.host_out_len(host)).slice();
  }
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
