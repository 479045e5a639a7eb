// @ts-check
// webgpu_model.mjs - a model's tensors in GPU buffers, by the names and shapes
// of splitter/format.h. Weights go up as they lie in the shard, and nothing of
// them stays here. A matrix larger than one binding may be is held in parts.

import { headerLength, parseHeader } from "./safetensors.mjs";
import { Usage } from "./webgpu_device.mjs";

const MAGIC = 0x53594e43;
const CONFIG_WORDS = 40;
const GPT2 = 1;
const TILE = 1024;
const PIECE = 8 << 20;

/**
 * @typedef {import("./safetensors.mjs").Tensor} Tensor
 *
 * @typedef {object} Config   struct format_config
 * @property {boolean} gpt2
 * @property {number} nLayers
 * @property {number} dModel
 * @property {number} nHeads
 * @property {number} nKv
 * @property {number} headDim
 * @property {number} dFf
 * @property {number} nVocab
 * @property {number} nCtx
 * @property {boolean} tied
 * @property {number} nShards
 * @property {number} shard
 * @property {number} layerFirst
 * @property {number} layerEnd
 * @property {number} epsLow     epsilon's low 32 bits
 * @property {number} epsHigh
 * @property {number[]} ends
 *
 * @typedef {object} Part        some blocks of a matrix
 * @property {number} block      the first
 * @property {number} blocks
 * @property {GPUBuffer} w
 * @property {GPUBuffer} m
 *
 * @typedef {object} Matrix
 * @property {number} outs       rows of the matrix
 * @property {number} blocks
 * @property {number} groups
 * @property {Part[]} parts
 * @property {GPUBuffer} consts  words: gain and bias of the norm before it, if
 *                               there is one, each of groups * 64; row
 *                               exponents; biases
 * @property {number} at         where the row exponents begin
 *
 * @typedef {object} Layer
 * @property {Matrix} qkv        with norm1
 * @property {Matrix} o
 * @property {Matrix} up         with norm2
 * @property {Matrix} down
 * @property {number} scoreShift
 * @property {boolean} boundary
 */

/**
 * @param {Int32Array} words
 * @returns {Config}
 */
export function parseConfig(words) {
  if (words.length !== CONFIG_WORDS || words[0] !== MAGIC || words[1] !== 1 || words[2] !== 1)
    throw new Error("the shard is of another format or arithmetic");
  const eps = BigInt(words[18]) | (BigInt(words[19]) << 31n);
  return {
    gpt2: words[3] === GPT2, nLayers: words[4], dModel: words[5], nHeads: words[6], nKv: words[7], headDim: words[8],
    dFf: words[9], nVocab: words[10], nCtx: words[11], tied: words[12] === 1, nShards: words[13], shard: words[14],
    layerFirst: words[15], layerEnd: words[16], epsLow: Number(eps & 0xffffffffn), epsHigh: Number(eps >> 32n),
    ends: [...words.subarray(21, 21 + words[20])],
  };
}

/** One shard's bytes, tensor by tensor. */
export class ShardTensors {
  /**
   * @param {Blob} blob
   * @param {Tensor[]} tensors
   */
  constructor(blob, tensors) {
    this.blob = blob;
    this.tensors = new Map(tensors.map((t) => [t.name, t]));
  }

  /** @param {Blob} blob */
  static async open(blob) {
    const read = async (/** @type {number} */ from, /** @type {number} */ to) => new Uint8Array(await blob.slice(from, to).arrayBuffer());
    const len = headerLength(await read(0, 8), blob.size);
    return new ShardTensors(blob, parseHeader(await read(0, 8 + len), blob.size));
  }

  /** @param {string} name */
  has(name) {
    return this.tensors.has(name);
  }

  /**
   * A tensor that must have exactly this type and shape.
   * @param {string} name
   * @param {string} dtype
   * @param {number[]} dims
   */
  find(name, dtype, dims) {
    const t = this.tensors.get(name);
    if (!t) throw new Error(`${name}: no such tensor`);
    if (t.dtype !== dtype || t.dims.length !== dims.length || t.dims.some((d, i) => d !== dims[i]))
      throw new Error(`${name}: another type or shape`);
    return t;
  }

  /**
   * @param {Tensor} t
   * @param {number} from
   * @param {number} to
   */
  async bytes(t, from = 0, to = t.length) {
    return new Uint8Array(await this.blob.slice(t.offset + from, t.offset + to).arrayBuffer());
  }

  /**
   * @param {string} name
   * @param {number[]} dims
   */
  async i32(name, dims) {
    return new Int32Array((await this.bytes(this.find(name, "I32", dims))).buffer);
  }
}

export class Uploader {
  /**
   * @param {GPUDevice} device
   * @param {(n: number) => void} onBytes
   * @param {number} splitAt  bytes of a matrix that one binding takes, at most
   */
  constructor(device, onBytes, splitAt = Infinity) {
    this.device = device;
    this.onBytes = onBytes;
    this.limit = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
    this.splitAt = Math.min(this.limit, splitAt);
    this.bytes = 0;
    /** @type {GPUBuffer[]} */
    this.buffers = [];
  }

  /**
   * A storage buffer of zeros. Sizes are rounded up to 16 bytes, so that vec4 fit.
   * @param {number} size
   * @param {string} label
   */
  buffer(size, label) {
    const bytes = Math.max(16, Math.ceil(size / 16) * 16);
    if (bytes > this.limit) throw new Error(`${label} (${bytes} bytes) does not fit a buffer of this GPU`);
    const usage = Usage.STORAGE | Usage.COPY_DST | Usage.COPY_SRC;
    const buffer = this.device.createBuffer({ label, size: bytes, usage });
    this.buffers.push(buffer);
    this.bytes += bytes;
    return buffer;
  }

  /**
   * @param {ArrayBufferView<ArrayBuffer>} data  a multiple of 4 bytes
   * @param {string} label
   */
  put(data, label) {
    const buffer = this.buffer(data.byteLength, label);
    this.device.queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, data.byteLength);
    return buffer;
  }

  /**
   * Bytes from..to of a tensor.
   * @param {ShardTensors} shard
   * @param {Tensor} t
   * @param {number} from
   * @param {number} to
   */
  async tensor(shard, t, from = 0, to = t.length) {
    const buffer = this.buffer(to - from, t.name);
    await this.fill(buffer, 0, shard, t, from, to);
    return buffer;
  }

  /**
   * @param {GPUBuffer} buffer
   * @param {number} offset  in it, bytes
   * @param {ShardTensors} shard
   * @param {Tensor} t
   * @param {number} from
   * @param {number} to
   */
  async fill(buffer, offset, shard, t, from = 0, to = t.length) {
    for (let at = from; at < to; at += PIECE) {
      const piece = await shard.bytes(t, at, Math.min(to, at + PIECE));
      this.device.queue.writeBuffer(buffer, offset + at - from, piece);
      this.onBytes(piece.length);
      if (piece.length === PIECE) await this.device.queue.onSubmittedWorkDone(); // what is staged goes away
    }
  }

  /**
   * The tiles of a packed matrix, in parts that can be bound.
   * @param {ShardTensors} shard
   * @param {string} name
   * @param {number} blocks
   * @param {number} groups
   * @returns {Promise<Part[]>}
   */
  async tiles(shard, name, blocks, groups) {
    const w = shard.find(`${name}.w`, "I8", [blocks, groups, TILE]);
    const m = shard.find(`${name}.m`, "U8", [blocks, groups, 16]);
    const fit = Math.floor(this.splitAt / (groups * TILE));
    const most = fit > 2 ? fit - (fit % 2) : Math.max(1, fit); // kernels take blocks by two
    const parts = [];
    for (let block = 0; block < blocks; block += most) {
      const end = Math.min(blocks, block + most);
      parts.push({
        block,
        blocks: end - block,
        w: await this.tensor(shard, w, block * groups * TILE, end * groups * TILE),
        m: await this.tensor(shard, m, block * groups * 16, end * groups * 16),
      });
    }
    return parts;
  }

  /**
   * @param {ShardTensors} shard
   * @param {string} name
   * @param {number} outs
   * @param {number} cols
   * @param {{tiles?: string, norm?: string, bias?: boolean, shared?: Part[]|null}} [more]  the name of its
   *   tiles, where it is another; of the norm before it; whether it has a bias; its tiles, where they are here already
   * @returns {Promise<Matrix>}
   */
  async matrix(shard, name, outs, cols, { tiles = name, norm = "", bias = true, shared = null } = {}) {
    const blocks = Math.ceil(outs / 16);
    const groups = Math.ceil(cols / 64);
    const parts = shared ?? await this.tiles(shard, tiles, blocks, groups);
    const at = norm ? 2 * 64 * groups : 0;
    const consts = this.buffer((at + 2 * 16 * blocks) * 4, `${name} consts`);
    const put = async (/** @type {string} */ words, /** @type {number} */ to, /** @type {number} */ n) =>
      this.fill(consts, 4 * to, shard, shard.find(words, "I32", [n]));
    if (norm) await put(`${norm}.g`, 0, cols);
    if (norm && shard.has(`${norm}.b`)) await put(`${norm}.b`, 64 * groups, cols);
    await put(`${name}.e`, at, 16 * blocks);
    if (bias) await put(`${name}.b`, at + 16 * blocks, 16 * blocks);
    return { outs, blocks, groups, parts, consts, at };
  }

  /**
   * @param {ShardTensors} shard
   * @param {string} name
   * @param {number} n
   */
  words(shard, name, n) {
    return this.tensor(shard, shard.find(name, "I32", [n]));
  }
}

export class GpuModel {
  /** @param {Config} config  of the first shard that is here */
  constructor(config) {
    this.config = config;
    this.spanFirst = config.shard;
    this.spanEnd = config.shard;
    /** @type {Layer[]} */
    this.layers = [];
    /** @type {Matrix|null} */
    this.embed = null;
    /** With the final norm. @type {Matrix|null} */
    this.head = null;
    /** @type {Record<string, GPUBuffer|null>} */
    this.tables = { exp2: null, act: null, rope: null, position: null, logs: null };
  }

  /**
   * Read neighbouring shards of a model, in order.
   * @param {Uploader} up
   * @param {Blob[]} blobs
   */
  static async load(up, blobs) {
    /** @type {GpuModel|null} */
    let model = null;
    for (const blob of blobs) {
      const shard = await ShardTensors.open(blob);
      const config = parseConfig(await shard.i32("config", [CONFIG_WORDS]));
      model ??= new GpuModel(config);
      if (config.shard !== model.spanEnd || config.nShards !== model.config.nShards) throw new Error("a shard is missing or out of order");
      await model.addShard(up, shard, config);
    }
    if (!model) throw new Error("there are no shards");
    return model;
  }

  /**
   * @param {Uploader} up
   * @param {ShardTensors} shard
   * @param {Config} c
   */
  async addShard(up, shard, c) {
    if (c.shard === this.spanFirst) await this.addTables(up, shard, c);
    if (c.shard === 0) await this.addFirst(up, shard, c);
    for (let i = c.layerFirst; i < c.layerEnd; i++) this.layers.push(await this.layer(up, shard, c, i));
    if (c.shard + 1 === c.nShards) await this.addLast(up, shard, c);
    this.spanEnd = c.shard + 1;
  }

  /**
   * The tables that every shard has.
   * @param {Uploader} up
   * @param {ShardTensors} shard
   * @param {Config} c
   */
  async addTables(up, shard, c) {
    this.tables.exp2 = await up.words(shard, "exp2", 4096);
    this.tables.act = await up.words(shard, "act", 4097);
    if (c.gpt2) return;
    const words = async (/** @type {string} */ name, /** @type {number} */ rows) =>
      new Int16Array((await shard.bytes(shard.find(name, "I16", [rows, c.headDim]))).buffer);
    const low = await words("rope.low", 128);
    const high = await words("rope.high", 1 + Math.floor((c.nCtx - 1) / 128));
    this.tables.rope = up.put(Int32Array.from([...low, ...high]), "rope");
  }

  /**
   * @param {Uploader} up
   * @param {ShardTensors} shard
   * @param {Config} c
   */
  async addFirst(up, shard, c) {
    if (c.gpt2) this.tables.position = await up.tensor(shard, shard.find("position", "I32", [c.nCtx, c.dModel]));
    this.embed = await up.matrix(shard, "embed", c.nVocab, c.dModel, { bias: false });
  }

  /**
   * @param {Uploader} up
   * @param {ShardTensors} shard
   * @param {Config} c
   * @param {number} i
   * @returns {Promise<Layer>}
   */
  async layer(up, shard, c, i) {
    const at = `layers.${i}`;
    const heads = c.nHeads * c.headDim;
    const fixed = await shard.i32(`${at}.fixed`, [4]);
    return {
      qkv: await up.matrix(shard, `${at}.qkv`, heads + 2 * c.nKv * c.headDim, c.dModel, { norm: `${at}.norm1` }),
      o: await up.matrix(shard, `${at}.o`, c.dModel, heads),
      up: await up.matrix(shard, `${at}.up`, c.gpt2 ? c.dFf : 2 * c.dFf, c.dModel, { norm: `${at}.norm2` }),
      down: await up.matrix(shard, `${at}.down`, c.dModel, c.dFf),
      scoreShift: 12 - fixed[0] - fixed[1],
      boundary: i + 1 === c.layerEnd && c.layerEnd < c.nLayers,
    };
  }

  /**
   * @param {Uploader} up
   * @param {ShardTensors} shard
   * @param {Config} c
   */
  async addLast(up, shard, c) {
    const shared = c.tied && c.nShards === 1 ? /** @type {Matrix} */ (this.embed).parts : null;
    this.head = await up.matrix(shard, "head", c.nVocab, c.dModel, { norm: "norm", shared });
    const exp2 = await shard.i32("exp2", [4096]);
    const log2 = await shard.i32("log2", [1025]);
    const logh = await shard.i32("logh", [257]);
    this.tables.logs = up.put(Int32Array.from([...exp2, ...log2, ...logh]), "logs");
  }
}
