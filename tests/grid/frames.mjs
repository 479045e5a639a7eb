// frames.mjs - the SYN1 frames that a test writes by hand: answers and units
// for a volunteer under test, results for a server under test.
// volunteer/base/syn1.h is the specification.
// @ts-check

import { crc32c } from '../../volunteer/web/crc32c.mjs';
import { fromHex } from '../../volunteer/web/syn1.mjs';

const HEADER_LEN = 76;
export const KIND = { unit: 1, result: 2, call: 3, answer: 4 };
const TOKENS = 1;

/**
 * @typedef {object} Header
 * @property {number} kind
 * @property {number} [flags]
 * @property {string} [model]   hex, at least 16 bytes
 * @property {number} [spanFirst]
 * @property {number} [spanEnd]
 * @property {number} [dim]
 * @property {number} [nSeqs]
 * @property {string} [unit]    hex of 16 bytes
 * @property {bigint} [number]
 */

/** Header, body and checksum. @param {Header} header @param {Uint8Array} body */
export function seal(header, body) {
  const frame = Buffer.alloc(HEADER_LEN + body.length + 4);
  frame.write('SYN1', 0, 'latin1');
  frame[4] = 1;
  frame[5] = header.kind;
  frame.writeUInt16LE(header.flags ?? 0, 6);
  if (header.model) frame.set(fromHex(header.model).subarray(0, 16), 8);
  frame.writeUInt16LE(header.spanFirst ?? 0, 24);
  frame.writeUInt16LE(header.spanEnd ?? 0, 26);
  frame.writeUInt16LE(header.nSeqs ?? 0, 28);
  if (header.unit) frame.set(fromHex(header.unit), 32);
  frame.writeUInt32LE(header.dim ?? 0, 52);
  frame.writeBigUInt64LE(header.number ?? 0n, 64);
  frame.writeUInt32LE(body.length, 72);
  frame.set(body, HEADER_LEN);
  frame.writeUInt32LE(crc32c(frame.subarray(0, -4)), frame.length - 4);
  return frame;
}

/**
 * @param {bigint} number of the call
 * @param {{reason?: number, outcome?: number, retryMs?: number, unit?: Uint8Array, model?: string,
 *   span?: {first: number, end: number}}} answer
 */
export function answerFrame(number, { reason = 0, outcome = 0, retryMs = 0, unit, model, span = { first: 0, end: 1 } }) {
  const body = Buffer.alloc(12 + (unit?.length ?? 0));
  body.writeUInt16LE(reason, 0);
  body[2] = outcome;
  body.writeUInt32LE(retryMs, 4);
  body.writeUInt32LE(unit?.length ?? 0, 8);
  if (unit) body.set(unit, 12);
  const { first, end } = model ? span : { first: 0, end: 0 };
  return seal({ kind: KIND.answer, model, spanFirst: first, spanEnd: end, number }, body);
}

/** A unit of one sequence: a prompt, then greedy tokens.
 * @param {{model: string, unit: string, seq: bigint, tokens: number[], maxNew: number}} unit */
export function unitFrame({ model, unit, seq, tokens, maxNew }) {
  const body = Buffer.alloc(72 + 4 * tokens.length);
  body.writeBigUInt64LE(seq, 0);
  body.writeUInt32LE(tokens.length, 16);
  body.writeUInt32LE(maxNew, 28);
  body.writeUInt32LE(tokens.length, 32);
  body.writeUInt32LE(65536, 40);
  tokens.forEach((token, i) => body.writeUInt32LE(token, 72 + 4 * i));
  return seal({ kind: KIND.unit, flags: TOKENS, model, spanEnd: 1, nSeqs: 1, unit }, body);
}

/**
 * @typedef {object} ResultSeq
 * @property {bigint} seq
 * @property {number} epoch
 * @property {number} first
 * @property {number[]} tokens
 * @property {number} [finish]
 *
 * A result whose fingerprints are zeros.
 * @param {{model: string, unit: string, seqs: ResultSeq[]}} result
 */
export function resultFrame({ model, unit, seqs }) {
  const parts = seqs.map(({ seq, epoch, first, tokens, finish }) => {
    const part = Buffer.alloc(32 + 20 * tokens.length);
    part.writeBigUInt64LE(seq, 0);
    part.writeUInt32LE(epoch, 8);
    part.writeUInt32LE(first, 12);
    part.writeUInt32LE(tokens.length, 20);
    part.writeUInt32LE(tokens.length, 24);
    part[29] = finish ?? 0;
    tokens.forEach((token, i) => part.writeUInt32LE(token, 32 + 4 * i));
    return part;
  });
  return seal({ kind: KIND.result, flags: TOKENS, model, spanEnd: 1, nSeqs: seqs.length, unit, number: 1000n },
    Buffer.concat(parts));
}

/** The sequences of a unit frame. @param {Uint8Array} frame */
export function unitSeqs(frame) {
  const v = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const seqs = [];
  for (let at = HEADER_LEN, i = v.readUInt16LE(28); i > 0; i--) {
    const nRows = v.readUInt32LE(at + 16);
    seqs.push({
      seq: v.readBigUInt64LE(at),
      epoch: v.readUInt32LE(at + 8),
      first: v.readUInt32LE(at + 12),
      nRows,
      nPredict: v.readUInt32LE(at + 24),
      maxNew: v.readUInt32LE(at + 28),
    });
    at += 72 + 8 * v.readUInt16LE(at + 66) + 4 * v.readUInt16LE(at + 68) + 4 * nRows;
  }
  return seqs;
}

/** What a call frame says. @param {Uint8Array} frame */
export function callInfo(frame) {
  const v = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const nHeld = v.readUInt16LE(HEADER_LEN), nModels = v.readUInt16LE(HEADER_LEN + 2);
  const resultLen = v.readUInt32LE(HEADER_LEN + 28);
  const held = Array.from({ length: nHeld }, (_, i) =>
    v.subarray(HEADER_LEN + 32 + 16 * i, HEADER_LEN + 48 + 16 * i).toString('hex'));
  const at = HEADER_LEN + 32 + 16 * nHeld + 20 * nModels;
  return {
    number: v.readBigUInt64LE(64),
    held,
    nModels,
    models: Array.from({ length: nModels }, (_, i) => {
      const m = HEADER_LEN + 32 + 16 * nHeld + 20 * i;
      return { model: v.subarray(m, m + 16).toString('hex'), first: v.readUInt16LE(m + 16), end: v.readUInt16LE(m + 18) };
    }),
    memory: Number(v.readBigUInt64LE(HEADER_LEN + 8)),
    slots: v.readUInt32LE(HEADER_LEN + 4),
    prefill: v.readUInt32LE(HEADER_LEN + 16),
    decode: v.readUInt32LE(HEADER_LEN + 20),
    waitMs: v.readUInt32LE(HEADER_LEN + 24),
    result: resultLen ? v.subarray(at, at + resultLen) : null,
  };
}
