// @ts-check
// syn1.mjs - SYN1, the wire format of work and results, as the browser needs
// it: calls are written, answers are read whole, and of units and results the
// numbers that the person sees. volunteer/base/syn1.h is the specification; the
// engine behind it does the full parsing. Byte views borrow the frame.

import { crc32c } from './crc32c.mjs';

export const HEADER_LEN = 76;
export const CRC_LEN = 4;
export const ID_LEN = 16;
export const PRINT_LEN = 16;
export const HELD_MAX = 8;
export const MODELS_MAX = 64;
export const WAIT_MS_MAX = 25000;
export const POS_MAX = 1 << 20;
export const FRAME_MAX = 64 << 20;

export const Kind = Object.freeze({ UNIT: 1, RESULT: 2, CALL: 3, ANSWER: 4 });
export const Reason = Object.freeze({
  WORK: 0, NO_WORK: 1, NOT_CACHED: 2, QUOTA: 3, TRUST: 4,
  STORE_DOWN: 5, DRAINING: 6, NO_SLOTS: 7, BANNED: 8, END: 9,
});
export const Outcome = Object.freeze({ NONE: 0, ACCEPTED: 1, GONE: 2 });
export const Status = Object.freeze({ OK: 0, KV_MISSING: 1, NO_ROOM: 2 });

const FLAG_TOKENS = 1;
const FLAG_ROWS = 2;
const FLAG_PRINTS_ONLY = 4;
const LOGPROBS = 1;
const GROUP = 32;
const CALL_BODY_LEN = 32;
const ANSWER_BODY_LEN = 12;
const UNIT_SEQ_LEN = 72;
const RESULT_SEQ_LEN = 32;

/** What is wrong with a frame. The message says what and where. */
export class Syn1Error extends Error {}

/**
 * @typedef {object} Header
 * @property {number} kind
 * @property {number} flags
 * @property {string} model      hex of the first 16 bytes of the model's id
 * @property {number} spanFirst
 * @property {number} spanEnd
 * @property {number} nSeqs
 * @property {string} unit       hex of the unit's id
 * @property {number} dim
 * @property {bigint} number
 *
 * @typedef {object} Answer
 * @property {Header} header
 * @property {number} reason     one of Reason
 * @property {number} outcome    one of Outcome
 * @property {number} retryMs
 * @property {Uint8Array|null} unit  a unit frame; there if reason is WORK
 *
 * @typedef {object} CachedSpan
 * @property {string} model      hex of 16 bytes
 * @property {number} first
 * @property {number} end
 *
 * @typedef {object} Call
 * @property {number} number     1, 2, 3 ...
 * @property {string[]} held     hex ids of the units in hand
 * @property {CachedSpan[]} models
 * @property {number} slots      sequences it has room for beyond those it holds
 * @property {number} memory     bytes
 * @property {number} prefill    rows a second, 0: not known
 * @property {number} decode     tokens a second, 0: not known
 * @property {number} waitMs
 * @property {Uint8Array|null} result  a result frame
 *
 * @typedef {object} UnitInfo
 * @property {string} id         hex
 * @property {string} model      hex of 16 bytes
 * @property {number} first      of the span
 * @property {number} end        of the span
 * @property {number} sequences
 * @property {number} rows       rows to compute before any new token
 * @property {number} maxNew     new tokens asked for, all sequences
 * @property {boolean} check     only recomputes what another volunteer did
 *
 * @typedef {object} ResultInfo
 * @property {string} id
 * @property {number} tokens     tokens told, predicted and new
 * @property {number} micros     compute time
 * @property {number} notOk      sequences whose status is not OK
 */

/**
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function toHex(bytes) {
  let s = '';
  for (const b of bytes) s += b.toString(16).padStart(2, '0');
  return s;
}

/**
 * @param {string} hex  an even number of hex digits
 * @returns {Uint8Array}
 */
export function fromHex(hex) {
  if (hex.length % 2 || !/^[0-9a-f]*$/i.test(hex)) throw new Syn1Error(`not hex: ${hex.slice(0, 40)}`);
  const out = new Uint8Array(hex.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return out;
}

/** @param {Uint8Array} bytes */
function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * The header of a frame of the kind that is expected, with its length and its
 * checksum checked.
 * @param {Uint8Array} frame
 * @param {number} kind
 * @returns {Header}
 */
export function parseHeader(frame, kind) {
  const v = viewOf(frame);
  if (frame.length < HEADER_LEN + CRC_LEN) throw new Syn1Error('frame ends early');
  if (v.getUint32(0, true) !== 0x314e5953) throw new Syn1Error('not a SYN1 frame');
  if (frame[4] !== 1) throw new Syn1Error(`SYN1 version ${frame[4]} is not known`);
  if (frame[5] !== kind) throw new Syn1Error(`frame kind ${frame[5]} where ${kind} was expected`);
  const total = HEADER_LEN + v.getUint32(72, true) + CRC_LEN;
  if (total > FRAME_MAX) throw new Syn1Error('frame is too long');
  if (frame.length < total) throw new Syn1Error('frame ends early');
  if (frame.length > total) throw new Syn1Error('bytes after the frame');
  if (crc32c(frame.subarray(0, total - CRC_LEN)) !== v.getUint32(total - CRC_LEN, true))
    throw new Syn1Error('checksum does not match');
  const flags = v.getUint16(6, true);
  if (flags & ~(FLAG_TOKENS | FLAG_ROWS | FLAG_PRINTS_ONLY)) throw new Syn1Error('unknown frame flags');
  return {
    kind,
    flags,
    model: toHex(frame.subarray(8, 24)),
    spanFirst: v.getUint16(24, true),
    spanEnd: v.getUint16(26, true),
    nSeqs: v.getUint16(28, true),
    unit: toHex(frame.subarray(32, 48)),
    dim: v.getUint32(52, true),
    number: v.getBigUint64(64, true),
  };
}

/**
 * Write a call.
 * @param {Call} call
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeCall(call) {
  const result = call.result ?? new Uint8Array(0);
  if (call.held.length > HELD_MAX || call.models.length > MODELS_MAX)
    throw new Syn1Error('too many units or models in a call');
  if (call.waitMs < 0 || call.waitMs > WAIT_MS_MAX) throw new Syn1Error('wait_ms out of range');
  const bodyLen = CALL_BODY_LEN + call.held.length * ID_LEN + call.models.length * (ID_LEN + 4) + result.length;
  const frame = new Uint8Array(HEADER_LEN + bodyLen + CRC_LEN);
  const v = viewOf(frame);
  v.setUint32(0, 0x314e5953, true);
  frame[4] = 1;
  frame[5] = Kind.CALL;
  v.setBigUint64(64, BigInt(call.number), true);
  v.setUint32(72, bodyLen, true);
  let at = HEADER_LEN;
  v.setUint16(at, call.held.length, true);
  v.setUint16(at + 2, call.models.length, true);
  v.setUint32(at + 4, call.slots, true);
  v.setBigUint64(at + 8, BigInt(Math.floor(call.memory)), true);
  v.setUint32(at + 16, Math.round(call.prefill), true);
  v.setUint32(at + 20, Math.round(call.decode), true);
  v.setUint32(at + 24, call.waitMs, true);
  v.setUint32(at + 28, result.length, true);
  at += CALL_BODY_LEN;
  for (const id of call.held) {
    frame.set(id16(id), at);
    at += ID_LEN;
  }
  for (const m of call.models) {
    frame.set(id16(m.model), at);
    v.setUint16(at + 16, m.first, true);
    v.setUint16(at + 18, m.end, true);
    at += ID_LEN + 4;
  }
  frame.set(result, at);
  at += result.length;
  v.setUint32(at, crc32c(frame.subarray(0, at)), true);
  return frame;
}

/** @param {string} hex */
function id16(hex) {
  const id = fromHex(hex);
  if (id.length !== ID_LEN) throw new Syn1Error(`an id has 16 bytes, this one ${id.length}`);
  return id;
}

/**
 * Read an answer whole.
 * @param {Uint8Array} frame
 * @returns {Answer}
 */
export function parseAnswer(frame) {
  const header = parseHeader(frame, Kind.ANSWER);
  const body = frame.subarray(HEADER_LEN, frame.length - CRC_LEN);
  if (header.flags || header.nSeqs || header.dim) throw new Syn1Error('an answer has no flags, sequences or rows');
  if (body.length < ANSWER_BODY_LEN) throw new Syn1Error('answer ends early');
  const v = viewOf(body);
  const reason = v.getUint16(0, true);
  const outcome = body[2];
  const unitLen = v.getUint32(8, true);
  if (reason >= Reason.END) throw new Syn1Error(`reason ${reason} is not known`);
  if (outcome > Outcome.GONE) throw new Syn1Error(`outcome ${outcome} is not known`);
  if (body[3]) throw new Syn1Error('a byte of the answer that is zero is not');
  if (body.length !== ANSWER_BODY_LEN + unitLen) throw new Syn1Error("answer's length does not add up");
  if ((reason === Reason.WORK) !== unitLen > 0) throw new Syn1Error('an answer has a unit if and only if its reason is work');
  return {
    header,
    reason,
    outcome,
    retryMs: v.getUint32(4, true),
    unit: unitLen ? body.subarray(ANSWER_BODY_LEN) : null,
  };
}

/** @param {number} dim */
function rowLen(dim) {
  return dim + Math.ceil(dim / GROUP);
}

/**
 * What a unit asks for.
 * @param {Uint8Array} frame
 * @returns {UnitInfo}
 */
export function unitInfo(frame) {
  const h = parseHeader(frame, Kind.UNIT);
  const end = frame.length - CRC_LEN;
  const v = viewOf(frame);
  const info = {
    id: h.unit, model: h.model, first: h.spanFirst, end: h.spanEnd, sequences: h.nSeqs, rows: 0, maxNew: 0, check: false,
  };
  let predict = 0;
  let at = HEADER_LEN;
  for (let i = 0; i < h.nSeqs; i++) {
    if (at + UNIT_SEQ_LEN > end) throw new Syn1Error('unit ends early');
    const rows = v.getUint32(at + 16, true);
    if (rows > POS_MAX) throw new Syn1Error('too many rows in a unit');
    info.rows += rows;
    predict += v.getUint32(at + 24, true);
    info.maxNew += v.getUint32(at + 28, true);
    at += UNIT_SEQ_LEN + 8 * v.getUint16(at + 66, true) + 4 * v.getUint16(at + 68, true);
    if (h.flags & FLAG_TOKENS) at += 4 * rows;
    if (h.flags & FLAG_ROWS) at += rowLen(h.dim) * rows;
  }
  if (at !== end) throw new Syn1Error("unit's length does not add up");
  info.check = info.maxNew === 0 && (predict > 0 || (h.flags & FLAG_PRINTS_ONLY) !== 0);
  return info;
}

/**
 * What a result tells.
 * @param {Uint8Array} frame
 * @returns {ResultInfo}
 */
export function resultInfo(frame) {
  const h = parseHeader(frame, Kind.RESULT);
  const end = frame.length - CRC_LEN;
  const v = viewOf(frame);
  const info = { id: h.unit, tokens: 0, micros: Number(h.number), notOk: 0 };
  let at = HEADER_LEN;
  for (let i = 0; i < h.nSeqs; i++) {
    if (at + RESULT_SEQ_LEN > end) throw new Syn1Error('result ends early');
    const rows = v.getUint32(at + 16, true);
    const tokens = v.getUint32(at + 20, true);
    const prints = v.getUint32(at + 24, true);
    if (Math.max(rows, tokens, prints) > POS_MAX) throw new Syn1Error('too many entries in a result');
    info.tokens += tokens;
    if (frame[at + 28] !== Status.OK) info.notOk++;
    const logprobs = frame[at + 30] & LOGPROBS ? 4 + 8 * frame[at + 31] : 0;
    at += RESULT_SEQ_LEN + rowLen(h.dim) * rows + (4 + logprobs) * tokens + PRINT_LEN * prints;
  }
  if (at !== end) throw new Syn1Error("result's length does not add up");
  return info;
}
