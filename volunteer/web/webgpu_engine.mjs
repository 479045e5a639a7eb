// @ts-check
// webgpu_engine.mjs - the engine on WebGPU: SYN1 unit in, SYN1 result out, byte
// for byte what the C engine gives. It runs in a worker and in Node alike.
//
// The tokens of a unit are made without reading back in between: each step
// leaves its token where the next one reads it. What was made is read slice by
// slice, one slice late, only to see which sequences have ended; what was made
// past an end is cut off and its rows count as never stored.

import { ShardMismatch } from "./engine_wasm.mjs";
import { Status } from "./syn1.mjs";
import { ANSWERS, BIASES, Graph, PROB_WORDS } from "./webgpu_graph.mjs";
import { GpuHold, MAP_READ, Usage } from "./webgpu_device.mjs";
import { KvBook, PAGE } from "./webgpu_kv.mjs";
import { GpuModel, Uploader } from "./webgpu_model.mjs";
import { assemble, fetchShader } from "./webgpu_shaders.mjs";
import { Finish, isForSpan, modelKey, readUnit, rowLength, writeResult } from "./webgpu_unit.mjs";

const SLOTS = 64;
const ROWS_MAX = 128; // a multiple of 32
const LOGITS_MAX = 64 << 20;
const KV_MIN = 16e6;
const KV_MAX = 2e9;
const PIECE = 4 << 20;
const SLICE_MS = 60; // what one submission should take at most
const STEPS_MIN = 4; // of the first slice of new tokens, if they fit SLICE_MS
const STEPS_MAX = 32;
const FEEDS = 1; // flags of sample.wgsl
const GOES_ON = 2;

/**
 * @typedef {import("./shard_fetch.mjs").Hasher} Hasher
 * @typedef {import("./messages.mjs").ShardBlob} ShardBlob
 * @typedef {import("./webgpu_unit.mjs").Unit} Unit
 * @typedef {import("./webgpu_unit.mjs").UnitSeq} UnitSeq
 * @typedef {import("./webgpu_unit.mjs").Answer} Answer
 * @typedef {import("./webgpu_kv.mjs").Slot} Slot
 *
 * @typedef {object} Job          one sequence of the unit in hand
 * @property {UnitSeq} seq
 * @property {Slot} slot
 * @property {Answer} answer
 * @property {number} fed         given rows computed
 * @property {number} made        new tokens planned so far
 * @property {number} most        new tokens at most
 * @property {number} added       new tokens that count
 * @property {boolean} ended
 *
 * @typedef {object} Note         what an answer of a slice is
 * @property {Job} job
 * @property {boolean} predicts   a given row's own token
 * @property {boolean} adds       a new token
 *                                neither: a row of a span without the head
 *
 * @typedef {object} Slice
 * @property {Note[]} notes       by answer
 * @property {GPUBuffer} staging
 * @property {number} words       of answers, or of rows
 * @property {number} steps
 * @property {number} start       ms
 */

export class WebGpuEngine {
  /**
   * @param {GPU|undefined} gpu    navigator.gpu
   * @param {{newHasher: () => Hasher, read?: import("./webgpu_shaders.mjs").ReadShader, subgroups?: boolean}} options
   */
  static async start(gpu, options) {
    const hold = await GpuHold.open(gpu, options);
    const sources = await assemble(options.read ?? fetchShader, hold.info.subgroups);
    return new WebGpuEngine(hold, sources, options.newHasher);
  }

  /**
   * @param {GpuHold} hold
   * @param {Map<string, string>} sources
   * @param {() => Hasher} newHasher
   */
  constructor(hold, sources, newHasher) {
    this.backend = "webgpu";
    this.hold = hold;
    this.device = hold.device;
    this.sources = sources;
    this.newHasher = newHasher;
    this.splitAt = Infinity; // as if a binding took no more bytes of a matrix
    this.round = 0;
    this.clock = () => performance.now(); // ms, of the compute time told
    this.stepMs = 5; // of one decoding step, measured
    /** @type {GPUBuffer[]} */
    this.idle = []; // staging buffers
  }

  /**
   * Read the shards of a model, or some neighbouring ones, and compile its kernels.
   * @param {string} id            64 hex digits
   * @param {ShardBlob[]} shards   in order
   * @param {number} maxBytes      of GPU memory, weights and KV together
   * @param {(done: number) => void} onBytes
   */
  async load(id, shards, maxBytes, onBytes) {
    for (const shard of shards) await this.verify(shard);
    let done = 0;
    const up = new Uploader(this.device, (n) => onBytes((done += n)), this.splitAt);
    try {
      await this.hold.scoped(async () => {
        this.model = await GpuModel.load(up, shards.map((s) => s.blob));
        await this.build(up, maxBytes);
      });
    } catch (error) {
      for (const buffer of up.buffers) buffer.destroy();
      throw error;
    }
    const c = this.config;
    const { spanFirst, spanEnd } = /** @type {GpuModel} */ (this.model);
    this.limits = {
      model: modelKey(id), spanFirst, spanEnd, nShards: c.nShards, dim: c.dModel, nCtx: c.nCtx, nVocab: c.nVocab,
    };
    this.bytes = up.bytes;
  }

  get config() {
    if (!this.model) throw new Error("no model is loaded");
    return this.model.config;
  }

  /** @param {ShardBlob} shard */
  async verify(shard) {
    const hash = this.newHasher();
    for (let at = 0; at < shard.blob.size; at += PIECE)
      hash.update(new Uint8Array(await shard.blob.slice(at, at + PIECE).arrayBuffer()));
    if (hash.hex() !== shard.sha256) throw new ShardMismatch(shard.sha256);
  }

  /**
   * @param {Uploader} up
   * @param {number} maxBytes
   */
  async build(up, maxBytes) {
    const c = this.config;
    const { layers, head } = /** @type {GpuModel} */ (this.model);
    const logits = head ? 64 * Math.ceil(c.nVocab / 16) : 0;
    let rows = ROWS_MAX;
    while (rows > 32 && rows * logits > Math.min(LOGITS_MAX, up.limit)) rows /= 2;
    const pageBytes = Graph.pageBytes(c);
    const budget = Math.min(KV_MAX, Math.max(KV_MIN, maxBytes - up.bytes));
    const fit = Math.min(budget / (pageBytes * layers.length), up.limit / pageBytes, SLOTS * Math.ceil(c.nCtx / PAGE));
    const pages = Math.max(1, Math.floor(fit));
    this.rows = rows;
    this.book = new KvBook(SLOTS, pages, c.nCtx);
    this.graph = new Graph(this.hold, this.sources, /** @type {GpuModel} */ (this.model), { rows, slots: SLOTS, pages });
    await this.graph.build(up);
  }

  /** Sequences there is room for beyond those held. */
  freeSlots() {
    return this.book?.freeSlots() ?? 0;
  }

  /**
   * Whether a unit is for what is loaded here.
   * @param {Uint8Array} frame
   */
  supports(frame) {
    return this.limits !== undefined && isForSpan(frame, this.limits);
  }

  /**
   * Compute a unit. If it throws, none of the unit's sequences is held any more.
   * @param {Uint8Array} frame
   * @returns {Promise<Uint8Array<ArrayBuffer>>} the result frame
   */
  async run(frame) {
    const start = this.clock();
    this.hold.check();
    const { limits } = this;
    if (!limits || !this.book) throw new Error("no model is loaded");
    const unit = readUnit(frame, limits);
    try {
      const jobs = this.open(unit);
      const answers = jobs.map((job) => job.answer);
      await this.hold.scoped(() => this.compute(unit, jobs.filter((job) => job.answer.status === Status.OK)));
      return writeResult(unit, limits, answers, (this.clock() - start) * 1000);
    } catch (error) {
      for (const seq of unit.seqs) this.book.drop(seq.id);
      throw error;
    }
  }

  /**
   * @param {Unit} unit
   * @returns {Job[]}
   */
  open(unit) {
    const nCtx = this.config.nCtx;
    const book = /** @type {KvBook} */ (this.book);
    this.round++;
    return unit.seqs.map((seq) => {
      const end = seq.first + seq.nRows;
      const room = Math.min(nCtx, end + Math.max(0, seq.maxNew - 1));
      const { status, slot } = book.open(seq, room, this.round);
      const answer = { status, finish: Finish.GOES_ON, tokens: [], prints: [], probs: [], rows: [] };
      const most = Math.min(seq.maxNew, nCtx - end);
      return { seq, slot: /** @type {Slot} */ (slot), answer, fed: 0, made: 0, most, added: 0, ended: false };
    });
  }

  /**
   * @param {Unit} unit
   * @param {Job[]} jobs  whose status is OK
   */
  async compute(unit, jobs) {
    if (jobs.length === 0) return;
    this.describe(unit, jobs);
    /** @type {Slice|null} */
    let late = null;
    const after = () => this.given(unit, jobs) ?? this.going(jobs);
    for (let next = after(); next || late; next = after()) {
      if (late) await this.collect(late);
      late = next;
    }
    for (const job of jobs) {
      const { seq, slot } = job;
      slot.rows = seq.first + seq.nRows + Math.max(0, job.added - 1);
      if (seq.maxNew > 0 && job.most === 0) job.answer.finish = Finish.CONTEXT_FULL;
    }
  }

  /**
   * Tell the GPU what the unit's sequences are.
   * @param {Unit} unit
   * @param {Job[]} jobs
   */
  describe(unit, jobs) {
    const { queue } = this.device;
    const { buffers, slotPages, room } = /** @type {Graph} */ (this.graph);
    const seed = unit.printSeed;
    let bias = 0;
    for (const { seq, slot } of jobs) {
      const params = new Int32Array([
        seq.invTemp, seq.topP, seq.topK, Number(seq.seed & 0xffffffffn), Number(seq.seed >> 32n), seq.presence, seq.frequency,
        seq.nPrompt, bias, seq.biases.length / 2, Number(seq.logprobs), seq.nTop, 0, 0, 0, 0,
      ].map((v) => v | 0));
      if (bias + seq.biases.length / 2 > BIASES) throw new Error("too many biases");
      queue.writeBuffer(buffers.params, slot.index * 64, params);
      queue.writeBuffer(buffers.rows, room.rows * 16 + slot.index * slotPages * 4, Uint32Array.from(slot.pages));
      if (seq.tokens.length) queue.writeBuffer(buffers.ids, (slot.index * this.config.nCtx + seq.first) * 4, /** @type {Uint32Array<ArrayBuffer>} */ (seq.tokens));
      if (seq.biases.length) queue.writeBuffer(buffers.biases, bias * 8, /** @type {Int32Array<ArrayBuffer>} */ (seq.biases));
      bias += seq.biases.length / 2;
    }
    queue.writeBuffer(buffers.job, 0, new Uint32Array([Number(seed & 0xffffffffn), Number(seed >> 32n), 0, 0]));
  }

  /**
   * Submit the next given rows of the sequences; null if there are none left.
   * @param {Unit} unit
   * @param {Job[]} jobs
   * @returns {Slice|null}
   */
  given(unit, jobs) {
    const { embed, head } = /** @type {GpuModel} */ (this.model);
    const wires = embed ? null : new Uint8Array((this.rows ?? 0) * this.wireBytes);
    const rows = [];
    const heads = [];
    /** @type {Note[]} */
    const notes = [];
    for (const job of jobs) {
      const { seq, slot } = job;
      for (; job.fed < seq.nRows && rows.length < (this.rows ?? 0); job.fed++) {
        const predicts = job.fed >= seq.nRows - seq.nPredict;
        const adds = job.fed === seq.nRows - 1 && job.most > 0;
        if (wires) this.spread(wires.subarray(rows.length * this.wireBytes), seq, job.fed);
        if (!head || predicts || adds) {
          heads.push([rows.length, notes.length, adds ? FEEDS : 0, 0]);
          notes.push({ job, predicts, adds });
        }
        if (adds) job.made = 1;
        rows.push([slot.index, seq.first + job.fed, 0, 0]);
      }
    }
    if (rows.length === 0) return null;
    if (wires) this.device.queue.writeBuffer(/** @type {Graph} */ (this.graph).buffers.given, 0, wires, 0, rows.length * this.wireBytes);
    return this.submit(rows, heads, notes, 1, unit);
  }

  /** Bytes of a row in wire form on the GPU, where an exponent has a word. */
  get wireBytes() {
    return 4 * /** @type {Graph} */ (this.graph).wireWords;
  }

  /**
   * Lay a given row out as the GPU reads it.
   * @param {Uint8Array} to
   * @param {UnitSeq} seq
   * @param {number} i
   */
  spread(to, seq, i) {
    const dim = this.config.dModel;
    const row = /** @type {Uint8Array} */ (seq.rows).subarray(i * rowLength(dim), (i + 1) * rowLength(dim));
    to.set(row.subarray(0, dim));
    row.subarray(dim).forEach((e, k) => void (to[4 * Math.ceil(dim / 4) + 4 * k] = e));
  }

  /**
   * The reverse: row i of what the GPU wrote.
   * @param {Uint8Array} from
   * @param {number} i
   */
  gathered(from, i) {
    const dim = this.config.dModel;
    const row = new Uint8Array(rowLength(dim));
    const at = i * this.wireBytes;
    row.set(from.subarray(at, at + dim));
    for (let k = 0; dim + k < row.length; k++) row[dim + k] = from[at + 4 * Math.ceil(dim / 4) + 4 * k];
    return row;
  }

  /**
   * Submit the next steps of the sequences that go on; null if none does.
   * @param {Job[]} jobs
   * @returns {Slice|null}
   */
  going(jobs) {
    const on = jobs.filter((job) => !job.ended && job.made > 0 && job.made < job.most).slice(0, this.rows);
    if (on.length === 0) return null;
    const left = Math.max(...on.map((job) => job.most - job.made));
    const fit = Math.min(Math.floor(ANSWERS / on.length), Math.max(1, Math.floor(SLICE_MS / this.stepMs)));
    // The first slices are short, so that the GPU works while the next, longer one is being recorded.
    const begun = Math.max(STEPS_MIN, ...on.map((job) => job.made));
    const steps = Math.min(left, fit, begun, STEPS_MAX);
    const rows = [];
    const heads = [];
    /** @type {Note[]} */
    const notes = [];
    for (const job of on) {
      const own = Math.min(steps, job.most - job.made);
      heads.push([rows.length, notes.length, FEEDS | GOES_ON, own]);
      rows.push([job.slot.index, job.seq.first + job.seq.nRows + job.made - 1, 0, 0]);
      for (let i = 0; i < own; i++) notes.push({ job, predicts: false, adds: true });
      job.made += own;
    }
    return this.submit(rows, heads, notes, steps);
  }

  /**
   * @param {number[][]} rows   as the kernels read them
   * @param {number[][]} heads
   * @param {Note[]} notes      by answer
   * @param {number} steps
   * @param {{returnsRows: boolean, projects: boolean}} [unit]  none: tokens only
   * @returns {Slice}
   */
  submit(rows, heads, notes, steps, unit) {
    const graph = /** @type {Graph} */ (this.graph);
    const { buffers } = graph;
    const { queue } = this.device;
    const n = notes.length;
    const probs = notes.some((note) => note.job.seq.logprobs);
    const apart = new Set(rows.map(([slot]) => slot)).size === rows.length;
    const [source, words] = unit?.returnsRows
      ? [buffers.wires, n * graph.wireWords]
      : [buffers.answers, probs ? ANSWERS + n * PROB_WORDS : n];
    const staging = this.idle.pop() ?? this.device.createBuffer({
      size: ANSWERS * 16 + 4 * Math.max(ANSWERS * (1 + PROB_WORDS), graph.model.head ? 0 : graph.room.rows * graph.wireWords),
      usage: Usage.MAP_READ | Usage.COPY_DST,
    });
    queue.writeBuffer(buffers.rows, 0, Uint32Array.from(rows.flat()));
    if (heads.length) queue.writeBuffer(buffers.answerers, 0, Uint32Array.from(heads.flat()));
    queue.writeBuffer(buffers.job, 8, new Uint32Array([n]));
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < steps; i++) graph.step(pass, rows.length, heads.length, apart);
    const printer = unit?.projects ? graph.projector : graph.printer;
    if (n && printer) graph.encode(pass, [printer], n);
    pass.end();
    if (n) {
      encoder.copyBufferToBuffer(buffers.prints, 0, staging, 0, n * 16);
      encoder.copyBufferToBuffer(source, 0, staging, ANSWERS * 16, words * 4);
    }
    queue.submit([encoder.finish()]);
    return { notes, staging, words, steps, start: performance.now() };
  }

  /**
   * Read a slice and see which sequences have ended.
   * @param {Slice} slice
   */
  async collect(slice) {
    const { notes, staging, words } = slice;
    const n = notes.length;
    await this.hold.guard(staging.mapAsync(MAP_READ, 0, ANSWERS * 16 + Math.max(1, words) * 4));
    const prints = new Uint8Array(staging.getMappedRange(0, Math.max(1, n) * 16)).slice();
    const answers = new Int32Array(staging.getMappedRange(ANSWERS * 16, Math.max(1, words) * 4)).slice();
    staging.unmap();
    this.idle.push(staging);
    this.stepMs += ((performance.now() - slice.start) / slice.steps / 2 - this.stepMs) / 4; // two slices are under way
    notes.forEach((note, i) => {
      const print = prints.slice(16 * i, 16 * i + 16);
      if (!note.predicts && !note.adds) {
        note.job.answer.prints.push(print);
        if (words > n) note.job.answer.rows.push(this.gathered(new Uint8Array(answers.buffer), i));
        return;
      }
      const probs = answers.subarray(ANSWERS + i * PROB_WORDS, ANSWERS + i * PROB_WORDS + 1 + 2 * note.job.seq.nTop);
      this.take(note, answers[i] >>> 0, print, probs);
    });
  }

  /**
   * @param {Note} note
   * @param {number} token
   * @param {Uint8Array} print
   * @param {Int32Array} probs
   */
  take({ job, predicts, adds }, token, print, probs) {
    const put = () => {
      job.answer.tokens.push(token);
      job.answer.prints.push(print);
      if (job.seq.logprobs) job.answer.probs.push(probs);
    };
    if (predicts) put();
    if (!adds || job.ended) return;
    put();
    job.added++;
    if (this.isEnd(job.seq, token)) {
      job.answer.finish = Finish.STOPPED;
      job.ended = true;
    } else if (job.seq.first + job.seq.nRows + job.added >= this.config.nCtx) {
      job.answer.finish = Finish.CONTEXT_FULL;
      job.ended = true;
    }
  }

  /**
   * @param {UnitSeq} seq
   * @param {number} token
   */
  isEnd(seq, token) {
    return seq.stop.includes(token) || (!seq.ignoreEnd && this.config.ends.includes(token));
  }

  /** Give all GPU memory back. */
  close() {
    this.hold.close();
  }
}
