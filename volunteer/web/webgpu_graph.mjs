// @ts-check
// webgpu_graph.mjs - a loaded model as a list of dispatches: which kernel, on
// which buffers, how many workgroups. One step takes up to `rows` rows of any
// sequences through all layers; few rows and many have their own matrix kernel.

import { PAGE } from "./webgpu_kv.mjs";

const FEW = 8; // rows up to which matmul_row is the faster kernel
export const ANSWERS = 1024; // tokens between two readings
export const PROB_WORDS = 41;
const PARAM_WORDS = 16;
export const BIASES = 1024 * 64;

/**
 * @typedef {import("./webgpu_model.mjs").GpuModel} GpuModel
 * @typedef {import("./webgpu_model.mjs").Matrix} Matrix
 * @typedef {import("./webgpu_model.mjs").Norm} Norm
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
 * @property {GPUBuffer} rows       (rows) vec4u
 * @property {GPUBuffer} answerers  (rows) vec4u: `heads` of norm.wgsl and sample.wgsl
 * @property {GPUBuffer} ids
 * @property {GPUBuffer} pages
 * @property {GPUBuffer} params
 * @property {GPUBuffer} biases
 * @property {GPUBuffer} wires
 * @property {GPUBuffer} answers
 * @property {GPUBuffer} job
 * @property {GPUBuffer} prints
 * @property {GPUBuffer[]} caches   one a layer
 * @property {GPUBuffer[]} none     stand for what a kernel does not read
 */

/** @param {number} n */
const groupsOf = (n) => Math.ceil(n / 64);

/** @param {number} groups */
export function spareOf(groups) {
  return groups <= 16 ? 0 : Math.ceil(Math.log2(groups)) - 4;
}

export class Graph {
  /**
   * @param {GPUDevice} device
   * @param {Map<string, string>} sources
   * @param {GpuModel} model
   * @param {{rows: number, slots: number, pages: number}} room
   */
  constructor(device, sources, model, room) {
    this.device = device;
    this.sources = sources;
    this.model = model;
    this.room = room;
    /** @type {Map<string, GPUShaderModule>} */
    this.modules = new Map();
    /** @type {Map<string, Promise<GPUComputePipeline>>} */
    this.pipelines = new Map();
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
    /** @type {Buffers} */
    this.buffers = {
      x: up.buffer(rows * this.stride * 4, "x"),
      big: up.buffer(rows * this.ld * 4, "big"),
      mixed: up.buffer(rows * this.heads * 4, "mixed"),
      q: up.buffer(rows * widest * 64, "q"),
      groups: up.buffer(rows * widest * 4, "groups"),
      heads: up.buffer(rows * c.nHeads * (this.width / 4 + 1) * 4, "heads"),
      logits: up.buffer(rows * this.ldLogits * 4, "logits"),
      rows: up.buffer(rows * 16, "rows"),
      answerers: up.buffer(rows * 16, "answerers"),
      ids: up.buffer(slots * c.nCtx * 4, "ids"),
      pages: up.buffer(slots * this.slotPages * 4, "pages"),
      params: up.buffer(slots * PARAM_WORDS * 4, "params"),
      biases: up.buffer(BIASES * 8, "biases"),
      wires: up.buffer(ANSWERS * this.wireWords * 4, "wires"),
      answers: up.buffer(ANSWERS * (1 + PROB_WORDS) * 4, "answers"),
      job: up.buffer(16, "job"),
      prints: up.buffer(ANSWERS * 16, "prints"),
      caches: this.model.layers.map((_, i) => up.buffer(pages * Graph.pageBytes(c), `cache ${i}`)),
      none: [0, 1, 2, 3].map((i) => up.buffer(16, `none ${i}`)),
    };
    const [few, many, fewEnds, manyEnds, printer] = await Promise.all([
      this.stepOps(false), this.stepOps(true), this.endOps(false), this.endOps(true), this.printOp(),
    ]);
    this.layers = { few, many };
    this.ends = { few: fewEnds, many: manyEnds };
    this.printer = printer;
  }

  printOp() {
    const { wires, job, prints } = this.buffers;
    return this.op("fingerprint", { C: this.model.config.dModel }, [wires, job, prints], (n) => [Math.ceil(n / 64), 1]);
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
   * @param {GPUBuffer[]} buffers   by binding
   * @param {(rows: number) => [number, number]} size
   * @returns {Promise<Op>}
   */
  async op(kernel, constants, buffers, size) {
    const pipeline = await this.pipeline(kernel, constants);
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    return { pipeline, group: this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }), size };
  }

  /**
   * y = what q holds, times a matrix.
   * @param {Matrix} matrix
   * @param {GPUBuffer} y
   * @param {number} ld
   * @param {boolean} many
   */
  matmul(matrix, y, ld, many) {
    const { q, groups } = this.buffers;
    const G = matrix.groups;
    return matrix.parts.map((part) => {
      const constants = { G, LD: ld, BLOCK: part.block, BLOCKS: part.blocks, SPARE: spareOf(G) };
      const buffers = [part.w, part.m, matrix.e, /** @type {GPUBuffer} */ (matrix.b), q, groups, y];
      if (many) return this.op("matmul_rows", constants, buffers, (n) => [Math.ceil(part.blocks / 2), Math.ceil(n / 32)]);
      const LANES = Math.min(64, 8 * Math.ceil(G / 8));
      const TILES = 1;
      return this.op("matmul_row", { ...constants, TILES, LANES, WG: TILES * LANES * 4 }, buffers, (n) => [part.blocks, n]);
    });
  }

  /**
   * @param {Norm} norm
   * @param {{add?: boolean, wire?: boolean, final?: boolean}} how
   */
  norm(norm, { add = false, wire = false, final = false }) {
    const c = this.model.config;
    const { x, big, q, groups, answerers, wires, none } = this.buffers;
    const constants = {
      C: c.dModel, G: groupsOf(c.dModel), STRIDE: this.stride, LD: this.ld, ADD: Number(add), WIRE: Number(wire),
      FINAL: Number(final), CENTRE: Number(c.gpt2), EPS_LOW: c.epsLow, EPS_HIGH: c.epsHigh,
    };
    const buffers = [x, big, norm.gain, norm.bias ?? none[0], q, groups, answerers, wires];
    return this.op("norm", constants, buffers, (n) => [n, 1]);
  }

  embeds() {
    const c = this.model.config;
    const { x, rows, ids, none } = this.buffers;
    const embed = /** @type {Matrix} */ (this.model.embed);
    return embed.parts.map((part) => {
      const constants = {
        C: c.dModel, G: embed.groups, STRIDE: this.stride, CTX: c.nCtx, BLOCK: part.block, BLOCKS: part.blocks,
        POSITION: Number(c.gpt2),
      };
      const buffers = [rows, ids, part.w, part.m, embed.e, this.model.tables.position ?? none[0], x];
      return this.op("embed", constants, buffers, (n) => [Math.ceil(c.dModel / 256), n]);
    });
  }

  /**
   * From qkv to the mixed heads of a layer, quantised.
   * @param {number} i  of the layer
   */
  attention(i) {
    const c = this.model.config;
    const { rows, pages, big, heads, mixed, q, groups, caches, none } = this.buffers;
    const { low, high, exp2 } = this.model.tables;
    const shape = { DIM: c.headDim, D: this.width, HEADS: c.nHeads, KV: c.nKv, PAGES: this.slotPages };
    const G = groupsOf(this.heads);
    return [
      this.op("heads", { ...shape, LD: this.ld, ROPE: Number(!c.gpt2) },
        [rows, pages, big, low ?? none[0], high ?? none[1], heads, caches[i]], (n) => [c.nHeads + 2 * c.nKv, n]),
      this.op("attention", { ...shape, LD: this.heads, SHIFT: this.model.layers[i].scoreShift },
        [rows, pages, heads, caches[i], /** @type {GPUBuffer} */ (exp2), mixed], (n) => [c.nHeads, n]),
      this.op("quantise", { N: this.heads, G, LD: this.heads }, [mixed, q, groups], (n) => [Math.ceil(G / 16), n]),
    ];
  }

  activation() {
    const c = this.model.config;
    const { big, q, groups } = this.buffers;
    const G = groupsOf(c.dFf);
    const act = /** @type {GPUBuffer} */ (this.model.tables.act);
    return this.op("activation", { N: c.dFf, G, LD: this.ld, GATE: Number(!c.gpt2) }, [big, act, q, groups],
      (n) => [Math.ceil(G / 16), n]);
  }

  /**
   * From tokens to the last layer's down matrix, which is added by the end.
   * @param {boolean} many
   * @returns {Promise<Op[]>}
   */
  async stepOps(many) {
    const { big } = this.buffers;
    const layers = this.model.layers;
    const ops = layers.flatMap((l, i) => [
      this.norm(l.norm1, { add: i > 0, wire: i > 0 && layers[i - 1].boundary }),
      ...this.matmul(l.qkv, big, this.ld, many),
      ...this.attention(i),
      ...this.matmul(l.o, big, this.ld, many),
      this.norm(l.norm2, { add: true }),
      ...this.matmul(l.up, big, this.ld, many),
      this.activation(),
      ...this.matmul(l.down, big, this.ld, many),
    ]);
    return Promise.all([...this.embeds(), ...ops]);
  }

  /**
   * The final norm, the head and the choice of tokens, for the rows named in
   * `answerers`.
   * @param {boolean} many
   * @returns {Promise<Op[]>}
   */
  async endOps(many) {
    const c = this.model.config;
    const { logits, answerers, rows, ids, params, biases, answers } = this.buffers;
    const head = /** @type {Matrix} */ (this.model.head);
    return Promise.all([
      this.norm(/** @type {Norm} */ (this.model.norm), { add: true, final: true }),
      ...this.matmul(head, logits, this.ldLogits, many),
      this.op("sample", { VOCAB: c.nVocab, LD: this.ldLogits, CTX: c.nCtx, PROBS: ANSWERS },
        [logits, answerers, rows, ids, params, biases, /** @type {GPUBuffer} */ (this.model.tables.logs), answers],
        (n) => [n, 1]),
    ]);
  }

  /**
   * One step of so many rows, of which the first nEnds answerers choose tokens.
   * @param {GPUComputePassEncoder} pass
   * @param {number} nRows
   * @param {number} nEnds
   */
  step(pass, nRows, nEnds) {
    this.encode(pass, nRows > FEW ? this.layers.many : this.layers.few, nRows);
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
