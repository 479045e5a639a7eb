// @ts-check
// webgpu_graph.mjs - a loaded model as a list of dispatches: which kernel, on
// which buffers, how many workgroups. One step takes up to `rows` rows of any
// sequences through all layers. Few rows, each of another sequence, go through
// kernels that do all between two barriers: dispatches are what they cost.

import { PAGE } from "./webgpu_kv.mjs";

const FEW = 8; // rows up to which reading the weights once a row is faster
const WIDEST = 512; // invocations of a workgroup, at most
export const ANSWERS = 1024; // tokens between two readings
export const PROB_WORDS = 41;
const PARAM_WORDS = 16;
export const BIASES = 1024 * 64;

/**
 * @typedef {import("./webgpu_model.mjs").GpuModel} GpuModel
 * @typedef {import("./webgpu_model.mjs").Matrix} Matrix
 * @typedef {import("./webgpu_model.mjs").Uploader} Uploader
 *
 * @typedef {object} Op
 * @property {GPUComputePipeline} pipeline
 * @property {GPUBindGroup} group
 * @property {(rows: number) => [number, number]} size  workgroups for so many rows
 *
 * @typedef {object} Buffers
 * @property {GPUBuffer} x
 * @property {GPUBuffer} big
 * @property {GPUBuffer} mixed
 * @property {GPUBuffer} q
 * @property {GPUBuffer} groups
 * @property {GPUBuffer} heads      quantised query heads
 * @property {GPUBuffer} logits
 * @property {GPUBuffer} rows       (rows) vec4u, then the pages of the slots
 * @property {GPUBuffer} answerers  (rows) vec4u: `heads` of norm.wgsl and sample.wgsl
 * @property {GPUBuffer} ids
 * @property {GPUBuffer} given      (rows) rows in wire form, of a span without the embedding
 * @property {GPUBuffer} params
 * @property {GPUBuffer} biases
 * @property {GPUBuffer} wires
 * @property {GPUBuffer} answers
 * @property {GPUBuffer} job
 * @property {GPUBuffer} prints
 * @property {GPUBuffer[]} caches   one a layer
 * @property {GPUBuffer} none       stands for what a kernel does not read
 */

/** @param {number} n */
const groupsOf = (n) => Math.ceil(n / 64);

/** @param {number} groups */
export function spareOf(groups) {
  return groups <= 16 ? 0 : Math.ceil(Math.log2(groups)) - 4;
}

export class Graph {
  /**
   * @param {import("./webgpu_device.mjs").GpuHold} hold
   * @param {Map<string, string>} sources
   * @param {GpuModel} model
   * @param {{rows: number, slots: number, pages: number}} room
   */
  constructor(hold, sources, model, room) {
    this.device = hold.device;
    const limits = hold.device.limits;
    this.widest = Math.min(WIDEST, limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX);
    this.shared = limits.maxComputeWorkgroupStorageSize;
    this.modules = hold.modules;
    this.pipelines = hold.pipelines;
    this.sources = sources;
    this.model = model;
    this.room = room;
    const c = model.config;
    this.slotPages = Math.ceil(c.nCtx / PAGE);
    this.width = Math.ceil(c.headDim / 16) * 16;
    this.heads = c.nHeads * c.headDim;
    const ups = c.gpt2 ? c.dFf : 2 * c.dFf;
    this.ld = 16 * Math.ceil(Math.max(this.heads + 2 * c.nKv * c.headDim, ups, c.dModel) / 16);
    this.stride = 64 * groupsOf(c.dModel);
    this.ldLogits = 16 * Math.ceil(c.nVocab / 16);
    this.wireWords = Math.ceil(c.dModel / 4) + Math.ceil(c.dModel / 32);
    /** @type {{few: Op[], many: Op[]}} */
    this.layers = { few: [], many: [] };
    /** @type {{few: Op[], many: Op[]}} */
    this.ends = { few: [], many: [] };
    /** @type {Op|null} */
    this.printer = null;
    /** @type {Op|null} */
    this.projector = null;
    /** Made by build(). @type {Buffers} */
    this.buffers = /** @type {any} */ (null);
  }

  /**
   * Bytes of cache that one page takes, in one layer.
   * @param {import("./webgpu_model.mjs").Config} c
   */
  static pageBytes(c) {
    return c.nKv * (32 * Math.ceil(c.headDim / 16) * 16 + 128) * 4;
  }

  /**
   * Make the buffers and compile all that will be dispatched.
   * @param {Uploader} up
   */
  async build(up) {
    const c = this.model.config;
    const { rows, slots, pages } = this.room;
    const widest = groupsOf(Math.max(c.dModel, this.heads, c.dFf));
    this.buffers = {
      x: up.buffer(rows * this.stride * 4, "x"),
      big: up.buffer(rows * this.ld * 4, "big"),
      mixed: up.buffer(rows * this.heads * 4, "mixed"),
      q: up.buffer(rows * widest * 64, "q"),
      groups: up.buffer(rows * widest * 4, "groups"),
      heads: up.buffer(rows * c.nHeads * (this.width / 4 + 1) * 4, "heads"),
      logits: up.buffer(this.model.head ? rows * this.ldLogits * 4 : 0, "logits"),
      rows: up.buffer(rows * 16 + slots * this.slotPages * 4, "rows"),
      answerers: up.buffer(rows * 16, "answerers"),
      ids: up.buffer(slots * c.nCtx * 4, "ids"),
      given: up.buffer(this.model.embed ? 0 : rows * this.wireWords * 4, "given"),
      params: up.buffer(slots * PARAM_WORDS * 4, "params"),
      biases: up.buffer(BIASES * 8, "biases"),
      wires: up.buffer(ANSWERS * this.wireWords * 4, "wires"),
      answers: up.buffer(ANSWERS * (1 + PROB_WORDS) * 4, "answers"),
      job: up.buffer(16, "job"),
      prints: up.buffer(ANSWERS * 16, "prints"),
      caches: this.model.layers.map((_, i) => up.buffer(pages * Graph.pageBytes(c), `cache ${i}`)),
      none: up.buffer(16, "none"),
    };
    const [few, many, fewEnds, manyEnds, printer, projector] = await Promise.all([
      this.stepOps(false), this.stepOps(true), this.endOps(false), this.endOps(true), this.printOp(),
      this.model.head ? null : this.projectOp(),
    ]);
    this.layers = { few, many };
    this.ends = { few: fewEnds, many: manyEnds };
    this.printer = printer;
    this.projector = projector; // no other class computes the head
  }

  printOp() {
    const { wires, job, prints } = this.buffers;
    return this.op("fingerprint", { C: this.model.config.dModel }, [wires, job, prints], (n) => [Math.ceil(n / 64), 1]);
  }

  projectOp() {
    const { wires, job, prints, rows } = this.buffers;
    return this.op("project", { C: this.model.config.dModel }, [wires, job, prints, rows], (n) => [n, 1]);
  }

  /**
   * A kernel with its constants, compiled once.
   * @param {string} kernel
   * @param {Record<string, number>} constants
   */
  pipeline(kernel, constants) {
    const key = `${kernel} ${JSON.stringify(constants)}`;
    let made = this.pipelines.get(key);
    if (!made) {
      const code = this.sources.get(kernel);
      if (!code) throw new Error(`there is no kernel ${kernel}`);
      const module = this.modules.get(kernel) ?? this.device.createShaderModule({ label: kernel, code });
      this.modules.set(kernel, module);
      made = this.compile(key, module, constants);
      this.pipelines.set(key, made);
    }
    return made;
  }

  /**
   * @param {string} label
   * @param {GPUShaderModule} module
   * @param {Record<string, number>} constants
   */
  async compile(label, module, constants) {
    try {
      const compute = { module, entryPoint: "main", constants };
      return await this.device.createComputePipelineAsync({ label, layout: "auto", compute });
    } catch (error) {
      const { messages } = await module.getCompilationInfo();
      const said = messages.map((m) => `line ${m.lineNum}: ${m.message}`).join("; ");
      throw new Error(`${label}: ${said || /** @type {Error} */ (error).message}`);
    }
  }

  /**
   * @param {string} kernel
   * @param {Record<string, number>} constants
   * @param {(GPUBuffer|null)[]} buffers   by binding; null: it has none
   * @param {(rows: number) => [number, number]} size
   * @returns {Promise<Op>}
   */
  async op(kernel, constants, buffers, size) {
    const pipeline = await this.pipeline(kernel, constants);
    const entries = buffers.flatMap((buffer, binding) => (buffer ? [{ binding, resource: { buffer } }] : []));
    return { pipeline, group: this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }), size };
  }

  /**
   * What a workgroup of lib/product.wgsl does of a matrix: so many blocks by so
   * many lots of its groups. Null if it is too much for this GPU.
   * @param {Matrix} matrix
   * @param {number} tiles
   */
  product(matrix, tiles) {
    const G = matrix.groups;
    const room = Math.floor((this.shared - 2048 - 72 * G) / 20); // by the kernels' workgroup variables
    const most = 4 * Math.floor(Math.min(this.widest, room) / (16 * tiles));
    if (most < 4) return null;
    const LANES = Math.min(4 * Math.ceil(G / 4), most);
    return { G, SPARE: spareOf(G), TILES: tiles, LANES, WG: tiles * LANES * 4, AT: matrix.at, ROWS: 16 * matrix.blocks };
  }

  /** Constants of lib/row_norm.wgsl, beside G and WG. */
  normed() {
    const c = this.model.config;
    return { C: c.dModel, CENTRE: Number(c.gpt2), EPS_LOW: c.epsLow, EPS_HIGH: c.epsHigh };
  }

  /**
   * What q holds, times a matrix: into y, or added to the residual.
   * @param {Matrix} matrix
   * @param {boolean} many
   * @param {{y: GPUBuffer, ld: number}|{wire: boolean}} to  wire: it crosses a shard boundary then
   */
  matmul(matrix, many, to) {
    const { q, groups, x } = this.buffers;
    const add = "wire" in to;
    const [y, LD] = add ? [x, this.stride] : [to.y, to.ld];
    const wire = add && to.wire;
    const ends = { LD, N: add ? matrix.outs : 16 * matrix.blocks, ADD: Number(add), WIRE: Number(wire) };
    const tiles = wire ? 2 : matrix.blocks > 1024 ? 4 : 1;
    const shape = this.product(matrix, tiles);
    if (!shape) throw new Error("the matrices of this model are too wide for this GPU");
    return matrix.parts.map((part) => {
      const constants = { ...ends, BLOCK: part.block, BLOCKS: part.blocks };
      const buffers = [part.w, part.m, matrix.consts, q, groups, y];
      if (!many) return this.op("matmul_row", { ...constants, ...shape }, buffers, (n) => [Math.ceil(part.blocks / tiles), n]);
      const { G, SPARE, AT, ROWS } = shape;
      return this.op("matmul_rows", { ...constants, G, SPARE, AT, ROWS }, buffers, (n) => [Math.ceil(part.blocks / 2), Math.ceil(n / 32)]);
    });
  }

  /**
   * The norm before a matrix, into q.
   * @param {Matrix} matrix
   * @param {boolean} [final]  of the rows that answer
   */
  norm(matrix, final = false) {
    const { x, q, groups, answerers, wires } = this.buffers;
    const G = matrix.groups;
    const WG = Math.min(64 * Math.ceil(G / 4), 64 * Math.floor(this.widest / 64));
    if (this.model.config.dModel > 16 * WG) throw new Error("rows of this model are too wide for this GPU");
    const constants = { ...this.normed(), G, WG, FINAL: Number(final) };
    return this.op("norm", constants, [null, null, matrix.consts, x, q, groups, answerers, wires], (n) => [n, 1]);
  }

  starts() {
    const c = this.model.config;
    const { x, rows, ids, none, given } = this.buffers;
    const { embed } = this.model;
    if (!embed)
      return [this.op("unwire", { C: c.dModel, G: groupsOf(c.dModel) }, [given, x], (n) => [Math.ceil(c.dModel / 1024), n])];
    return embed.parts.map((part) => {
      const constants = {
        C: c.dModel, G: embed.groups, STRIDE: this.stride, CTX: c.nCtx, BLOCK: part.block, BLOCKS: part.blocks,
        POSITION: Number(c.gpt2),
      };
      const buffers = [rows, ids, part.w, part.m, embed.consts, this.model.tables.position ?? none, x];
      return this.op("embed", constants, buffers, (n) => [Math.ceil(c.dModel / 256), n]);
    });
  }

  /** Constants of lib/head.wgsl and of attention.wgsl. */
  headed() {
    const c = this.model.config;
    return { DIM: c.headDim, D: this.width, HEADS: c.nHeads, KV: c.nKv, PAGES: this.slotPages, ROOM: this.room.rows };
  }

  /**
   * From the residual to query heads and the cache.
   * @param {number} i  of the layer
   * @param {boolean} many
   */
  qkv(i, many) {
    const c = this.model.config;
    const { x, rows, big, heads, caches, none } = this.buffers;
    const matrix = this.model.layers[i].qkv;
    const shape = many || matrix.parts.length > 1 || c.headDim % 16 ? null : this.product(matrix, c.headDim / 16);
    const constants = { ...this.headed(), ROPE: Number(!c.gpt2) };
    const after = [rows, this.model.tables.rope ?? none, heads, caches[i]];
    const size = (/** @type {number} */ n) => /** @type {[number, number]} */ ([c.nHeads + 2 * c.nKv, n]);
    if (shape) {
      const [{ w, m }] = matrix.parts;
      return [this.op("norm_qkv", { ...constants, ...shape, ...this.normed() }, [w, m, matrix.consts, x, ...after], size)];
    }
    return [
      this.norm(matrix),
      ...this.matmul(matrix, many, { y: big, ld: this.ld }),
      this.op("heads", { ...constants, LD: this.ld }, [null, null, null, big, ...after], size),
    ];
  }

  /**
   * From query heads to the mixed heads of a layer, quantised.
   * @param {number} i  of the layer
   */
  attention(i) {
    const c = this.model.config;
    const { rows, heads, mixed, q, groups, caches } = this.buffers;
    const G = groupsOf(this.heads);
    const fused = c.headDim === 64; // a head is a group
    const constants = { ...this.headed(), LD: this.heads, SHIFT: this.model.layers[i].scoreShift, FUSED: Number(fused) };
    const all = [
      this.op("attention", constants, [rows, heads, caches[i], this.model.tables.exp2, mixed, q, groups], (n) => [c.nHeads, n]),
      this.op("quantise", { N: this.heads, G, LD: this.heads }, [mixed, q, groups], (n) => [Math.ceil(G / 16), n]),
    ];
    return fused ? all.slice(0, 1) : all;
  }

  /**
   * From the residual through the activation function, quantised.
   * @param {Matrix} matrix  the layer's up
   * @param {boolean} many
   */
  up(matrix, many) {
    const c = this.model.config;
    const { x, big, q, groups } = this.buffers;
    const { act } = this.model.tables;
    const OUT = groupsOf(c.dFf);
    const GATE = Number(!c.gpt2);
    const whole = matrix.parts.length === 1 && (c.gpt2 || c.dFf % 16 === 0);
    const shape = many || !whole ? null : this.product(matrix, 4 + 4 * GATE);
    if (shape) {
      const [{ w, m, blocks }] = matrix.parts;
      const constants = { ...shape, ...this.normed(), N: c.dFf, OUT, BLOCKS: blocks, GATE };
      return [this.op("norm_up", constants, [w, m, matrix.consts, x, act, q, groups], (n) => [OUT, n])];
    }
    return [
      this.norm(matrix),
      ...this.matmul(matrix, many, { y: big, ld: this.ld }),
      this.op("activation", { N: c.dFf, G: OUT, LD: this.ld, GATE }, [big, act, q, groups], (n) => [Math.ceil(OUT / 16), n]),
    ];
  }

  /**
   * From tokens, or given rows, to the residual after the last layer.
   * @param {boolean} many
   * @returns {Promise<Op[]>}
   */
  async stepOps(many) {
    const ops = this.model.layers.flatMap((l, i) => [
      ...this.qkv(i, many),
      ...this.attention(i),
      ...this.matmul(l.o, many, { wire: false }),
      ...this.up(l.up, many),
      ...this.matmul(l.down, many, { wire: l.boundary }),
    ]);
    return Promise.all([...this.starts(), ...ops]);
  }

  /**
   * For the rows named in `answerers`: the final norm, the head and the choice
   * of tokens; or, on a span without the head, their wire form.
   * @param {boolean} many
   * @returns {Promise<Op[]>}
   */
  async endOps(many) {
    const c = this.model.config;
    const { x, logits, answerers, rows, ids, params, biases, answers, wires } = this.buffers;
    const { head } = this.model;
    if (!head)
      return [await this.op("wire", { C: c.dModel, G: groupsOf(c.dModel) }, [x, answerers, wires], (n) => [Math.ceil(c.dModel / 1024), n])];
    return Promise.all([
      this.norm(head, true),
      ...this.matmul(head, many, { y: logits, ld: this.ldLogits }),
      this.op("sample", { VOCAB: c.nVocab, LD: this.ldLogits, CTX: c.nCtx, PROBS: ANSWERS },
        [logits, answerers, rows, ids, params, biases, this.model.tables.logs, answers], (n) => [n, 1]),
    ]);
  }

  /**
   * One step of so many rows; what the first nEnds answerers name is answered.
   * @param {GPUComputePassEncoder} pass
   * @param {number} nRows
   * @param {number} nEnds
   * @param {boolean} apart  each row is of another sequence
   */
  step(pass, nRows, nEnds, apart) {
    this.encode(pass, nRows > FEW || !apart ? this.layers.many : this.layers.few, nRows);
    if (nEnds > 0) this.encode(pass, nEnds > FEW ? this.ends.many : this.ends.few, nEnds);
  }

  /**
   * @param {GPUComputePassEncoder} pass
   * @param {Op[]} ops
   * @param {number} n
   */
  encode(pass, ops, n) {
    for (const op of ops) {
      const [x, y] = op.size(n);
      pass.setPipeline(op.pipeline);
      pass.setBindGroup(0, op.group);
      pass.dispatchWorkgroups(x, y);
    }
  }

  /** Dispatches that one step of few rows takes. */
  get dispatches() {
    return this.layers.few.length + this.ends.few.length;
  }
}
