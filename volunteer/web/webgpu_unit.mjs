// @ts-check
// webgpu_unit.mjs - units read whole and results written, for engines that are
// not the C one. volunteer/base/syn1.h is the specification; every limit of it
// is checked here, as syn1_parse and unit_read do.

import { crc32c } from "./crc32c.mjs";
import { CRC_LEN, fromHex, HEADER_LEN, Kind, parseHeader, POS_MAX, PRINT_LEN, Status, Syn1Error } from "./syn1.mjs";

const SEQ_LEN = 72;
const RESULT_SEQ_LEN = 32;
const TOKENS = 1; // flags of a frame
const ROWS = 2;
const PRINTS_ONLY = 4;
const GROUP = 32;
const EXP_MAX = 24;
const LOGPROBS = 1; // flags of a sequence
const IGNORE_END = 2;
const TOP_MAX = 20;
const BIAS_MAX = 1024;
const STOP_MAX = 16;
const SEQS_MAX = 256;
const PENALTY_MAX = 2 << 16;
const BIAS_LIMIT = 100 << 16;
export const Finish = Object.freeze({ GOES_ON: 0, STOPPED: 1, CONTEXT_FULL: 2 });

/**
 * @typedef {object} UnitSeq
 * @property {bigint} id
 * @property {number} epoch
 * @property {number} first
 * @property {number} nRows
 * @property {number} kvValid
 * @property {number} nPredict
 * @property {number} maxNew
 * @property {number} nPrompt
 * @property {number} invTemp
 * @property {number} topP
 * @property {number} topK
 * @property {bigint} seed
 * @property {number} presence
 * @property {number} frequency
 * @property {boolean} logprobs
 * @property {boolean} ignoreEnd
 * @property {number} nTop
 * @property {Uint32Array} tokens  none where rows are given alone
 * @property {Uint8Array|null} rows in wire form
 * @property {Int32Array} biases   token, add, token, add ...
 * @property {Uint32Array} stop
 *
 * @typedef {object} Unit
 * @property {import("./syn1.mjs").Header} header
 * @property {Uint8Array} head     the header's bytes
 * @property {bigint} printSeed
 * @property {boolean} projects      its fingerprints are tolerant ones
 * @property {boolean} returnsRows
 * @property {UnitSeq[]} seqs
 *
 * @typedef {object} Answer        one sequence of a result
 * @property {number} status
 * @property {number} finish
 * @property {number[]} tokens
 * @property {Uint8Array[]} prints 16 bytes a token, or a row
 * @property {Uint8Array[]} rows   in wire form; [] unless the unit returns them
 * @property {Int32Array[]} probs  1 + 2 * nTop words a token; [] without
 *
 * @typedef {object} Limits        what the model allows
 * @property {string} model        hex of 16 bytes
 * @property {number} spanFirst   shards that are here
 * @property {number} spanEnd
 * @property {number} nShards     of the model
 * @property {number} dim
 * @property {number} nCtx
 * @property {number} nVocab
 */

/**
 * Little-endian words out of a frame, wherever they lie.
 * @param {Uint8Array} frame
 * @param {number} at
 * @param {number} n
 */
function words(frame, at, n) {
  return new Uint32Array(frame.slice(at, at + 4 * n).buffer);
}

/**
 * @param {boolean} ok
 * @param {string} what
 */
function must(ok, what) {
  if (!ok) throw new Syn1Error(`bad unit: ${what}`);
}

/**
 * Bytes of a row in wire form.
 * @param {number} dim
 */
export function rowLength(dim) {
  return dim + Math.ceil(dim / GROUP);
}

/**
 * @param {Uint8Array} rows
 * @param {number} dim
 */
function rowsValid(rows, dim) {
  const len = rowLength(dim);
  return rows.every((b, i) => (i % len < dim ? b !== 128 : b <= EXP_MAX)); // 128 is -128
}

/**
 * @param {Uint8Array} frame
 * @param {DataView} v
 * @param {number} at
 * @param {number} end   of the body
 * @param {{flags: number, dim: number}} header
 * @returns {{seq: UnitSeq, next: number}}
 */
function readSeq(frame, v, at, end, header) {
  must(at + SEQ_LEN <= end, "it ends early");
  const u32 = (/** @type {number} */ o) => v.getUint32(at + o, true);
  const i32 = (/** @type {number} */ o) => v.getInt32(at + o, true);
  const nRows = u32(16);
  const nBias = v.getUint16(at + 66, true);
  const nStop = v.getUint16(at + 68, true);
  const flags = frame[at + 64];
  const seq = {
    id: v.getBigUint64(at, true), epoch: u32(8), first: u32(12), nRows, kvValid: u32(20), nPredict: u32(24),
    maxNew: u32(28), nPrompt: u32(32), invTemp: u32(36), topP: u32(40), topK: u32(44), seed: v.getBigUint64(at + 48, true),
    presence: i32(56), frequency: i32(60), logprobs: (flags & LOGPROBS) !== 0, ignoreEnd: (flags & IGNORE_END) !== 0,
    nTop: frame[at + 65], tokens: new Uint32Array(), rows: /** @type {Uint8Array|null} */ (null), biases: new Int32Array(),
    stop: new Uint32Array(),
  };
  must(nRows >= 1 && seq.first + nRows + seq.maxNew <= POS_MAX, "rows out of range");
  must(seq.kvValid <= seq.first && seq.nPredict <= nRows && seq.nPrompt <= POS_MAX, "counts out of range");
  must(seq.topP >= 1 && seq.topP <= 65536, "top_p out of range");
  must(Math.max(Math.abs(seq.presence), Math.abs(seq.frequency)) <= PENALTY_MAX, "a penalty is out of range");
  must((flags & ~(LOGPROBS | IGNORE_END)) === 0 && v.getUint16(at + 70, true) === 0, "unknown flags");
  must(seq.nTop <= (seq.logprobs ? TOP_MAX : 0) && nBias <= BIAS_MAX && nStop <= STOP_MAX, "lists too long");
  at += SEQ_LEN;
  const nTokens = header.flags & TOKENS ? nRows : 0;
  const rowBytes = header.flags & ROWS ? nRows * rowLength(header.dim) : 0;
  must(at + 4 * nTokens + rowBytes + 8 * nBias + 4 * nStop <= end, "it ends early");
  seq.tokens = words(frame, at, nTokens);
  at += 4 * nTokens;
  if (header.flags & ROWS) {
    seq.rows = frame.slice(at, at + rowBytes);
    must(rowsValid(seq.rows, header.dim), "a row is malformed");
  }
  at += rowBytes;
  seq.biases = new Int32Array(words(frame, at, 2 * nBias).buffer);
  at += 8 * nBias;
  seq.stop = words(frame, at, nStop);
  must(seq.biases.every((b, i) => i % 2 === 0 || Math.abs(b) <= BIAS_LIMIT), "a bias is out of range");
  return { seq, next: at + 4 * nStop };
}

/**
 * Whether a frame is for the shards that are here. Says nothing about whether
 * it is well formed.
 * @param {Uint8Array} frame
 * @param {Limits} limits
 */
export function isForSpan(frame, limits) {
  const h = parseHeader(frame, Kind.UNIT);
  const classes = limits.spanEnd === limits.nShards ? 1 : 2;
  return h.spanFirst === limits.spanFirst && h.spanEnd === limits.spanEnd && h.model === limits.model && frame[30] < classes;
}

/**
 * @param {UnitSeq} seq
 * @param {Limits} limits
 */
function checkSeq(seq, limits) {
  const hasHead = limits.spanEnd === limits.nShards;
  const hasTokens = seq.tokens.length > 0;
  must(limits.spanFirst === 0 ? hasTokens : seq.rows !== null, "it lacks what this span reads");
  must(hasHead || (seq.nPredict === 0 && seq.maxNew === 0), "tokens of a span without the head");
  must(hasTokens || (seq.presence === 0 && seq.frequency === 0), "penalties without tokens");
  must(limits.spanFirst === 0 || seq.maxNew <= 1, "this span cannot feed its tokens back");
  must(seq.first + seq.nRows <= limits.nCtx, "a position past the context");
  must(seq.tokens.every((t) => t < limits.nVocab), "a token past the vocabulary");
  must(seq.biases.every((t, i) => i % 2 === 1 || t >>> 0 < limits.nVocab), "a token past the vocabulary");
}

/**
 * @param {Uint8Array} frame
 * @param {Limits} limits
 * @returns {Unit}
 */
export function readUnit(frame, limits) {
  const header = parseHeader(frame, Kind.UNIT);
  const { flags, dim } = header;
  const end = frame.length - CRC_LEN;
  const v = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  /** @type {UnitSeq[]} */
  const seqs = [];
  must((flags & (TOKENS | ROWS)) !== 0 && dim === (flags & ROWS ? limits.dim : 0), "its flags or its width");
  must(frame[31] === 0 && header.number === 0n, "its header");
  must(isForSpan(frame, limits), "another model or span");
  must(header.nSeqs >= 1 && header.nSeqs <= SEQS_MAX, "number of sequences");
  let at = HEADER_LEN;
  for (let i = 0; i < header.nSeqs; i++) {
    const { seq, next } = readSeq(frame, v, at, end, header);
    checkSeq(seq, limits);
    must(!seqs.some((s) => s.id === seq.id), "a sequence twice");
    seqs.push(seq);
    at = next;
  }
  must(at === end, "its length does not add up");
  const returnsRows = limits.spanEnd < limits.nShards && (flags & PRINTS_ONLY) === 0;
  return { header, head: frame.slice(0, HEADER_LEN), printSeed: v.getBigUint64(56, true), projects: frame[30] === 1, returnsRows, seqs };
}

/**
 * @param {UnitSeq} seq
 * @param {Answer} a
 */
function answerLen(seq, a) {
  if (a.status !== Status.OK) return RESULT_SEQ_LEN;
  const rows = a.rows.reduce((n, row) => n + row.length, 0);
  return RESULT_SEQ_LEN + rows + a.tokens.length * (4 + (seq.logprobs ? 4 + 8 * seq.nTop : 0)) + a.prints.length * PRINT_LEN;
}

/**
 * @param {DataView} v
 * @param {number} at
 * @param {UnitSeq} seq
 * @param {Answer} a
 */
function putAnswer(v, at, seq, a) {
  const ok = a.status === Status.OK;
  v.setBigUint64(at, seq.id, true);
  v.setUint32(at + 8, seq.epoch, true);
  v.setUint32(at + 12, seq.first, true);
  v.setUint8(at + 28, a.status);
  if (!ok) return;
  v.setUint32(at + 16, a.rows.length, true);
  v.setUint32(at + 20, a.tokens.length, true);
  v.setUint32(at + 24, a.prints.length, true);
  v.setUint8(at + 29, a.finish);
  if (seq.logprobs) {
    v.setUint8(at + 30, LOGPROBS);
    v.setUint8(at + 31, seq.nTop);
  }
  at += RESULT_SEQ_LEN;
  const bytes = new Uint8Array(v.buffer);
  for (const row of a.rows) {
    bytes.set(row, at);
    at += row.length;
  }
  for (const token of a.tokens) {
    v.setUint32(at, token, true);
    at += 4;
  }
  for (const probs of seq.logprobs ? a.probs : [])
    for (const p of probs) {
      v.setInt32(at, p, true);
      at += 4;
    }
  for (const print of a.prints) {
    bytes.set(print, at);
    at += PRINT_LEN;
  }
}

/**
 * @param {Unit} unit
 * @param {Limits} limits
 * @param {Answer[]} answers  in the unit's order
 * @param {number} micros     compute time
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function writeResult(unit, limits, answers, micros) {
  const bodyLen = answers.reduce((n, a, i) => n + answerLen(unit.seqs[i], a), 0);
  const frame = new Uint8Array(HEADER_LEN + bodyLen + CRC_LEN);
  const v = new DataView(frame.buffer);
  frame.set(unit.head);
  frame[5] = Kind.RESULT;
  const hasHead = limits.spanEnd === limits.nShards;
  v.setUint16(6, unit.returnsRows ? ROWS : hasHead ? TOKENS : PRINTS_ONLY, true);
  v.setUint32(52, unit.returnsRows ? limits.dim : 0, true);
  v.setBigUint64(64, BigInt(Math.round(micros)), true);
  v.setUint32(72, bodyLen, true);
  let at = HEADER_LEN;
  answers.forEach((a, i) => {
    putAnswer(v, at, unit.seqs[i], a);
    at += answerLen(unit.seqs[i], a);
  });
  v.setUint32(at, crc32c(frame.subarray(0, at)), true);
  return frame;
}

/**
 * Whether a frame's model is the one whose id is given.
 * @param {string} id  64 hex digits
 */
export function modelKey(id) {
  fromHex(id);
  return id.slice(0, 32);
}
