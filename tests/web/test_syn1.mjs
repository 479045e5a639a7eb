// test_syn1.mjs - the page's SYN1 against frames of the C codec.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';

import { crc32c } from '../../volunteer/web/crc32c.mjs';
import {
  HEADER_LEN, Outcome, Reason, Syn1Error, encodeCall, fromHex, parseAnswer, resultInfo, toHex, unitInfo,
} from '../../volunteer/web/syn1.mjs';

const program = `${process.env.SYNAPSE_BUILD ?? 'build/dev'}/tests/web/syn1_frames`;
/** @type {Record<string, Uint8Array>} */
const frames = Object.fromEntries(
  execFileSync(program, { encoding: 'utf8' }).trim().split("\n").map((line) => {
    const [name, hex] = line.split(' ');
    return [name, fromHex(hex)];
  }),
);
const MODEL = 'a1'.repeat(16);
const UNIT = 'c0c1c2c3c4c5c6c7c8c9cacbcccdcecf';

/**
 * A copy with some bytes changed and a checksum that is right again.
 * @param {Uint8Array} frame
 * @param {number} at
 * @param {number[]} bytes
 */
function patched(frame, at, bytes) {
  const copy = frame.slice();
  copy.set(bytes, at);
  new DataView(copy.buffer).setUint32(copy.length - 4, crc32c(copy.subarray(0, -4)), true);
  return copy;
}

test("CRC-32C of the standard's digits", () => {
  assert.equal(crc32c(new TextEncoder().encode('123456789')), 0xe3069283);
});

test('a call is byte for byte that of the C codec', () => {
  const call = encodeCall({
    number: 77, held: ['11'.repeat(16), '22'.repeat(16)], models: [{ model: MODEL, first: 0, end: 2 }],
    slots: 9, memory: 5000000000, prefill: 480, decode: 31, waitMs: 25000, result: frames.result,
  });
  assert.equal(toHex(call), toHex(frames.call));
});

test('an answer with work gives its unit', () => {
  const answer = parseAnswer(frames.work);
  assert.equal(answer.reason, Reason.WORK);
  assert.equal(answer.outcome, Outcome.ACCEPTED);
  assert.equal(answer.retryMs, 1500);
  assert.equal(answer.header.number, 77n);
  assert.deepEqual(answer.unit && toHex(answer.unit), toHex(frames.unit));
});

test('an answer without work says why and about which model', () => {
  const answer = parseAnswer(frames.none);
  assert.equal(answer.reason, Reason.NOT_CACHED);
  assert.equal(answer.header.model, MODEL);
  assert.equal(answer.header.spanEnd, 2);
  assert.equal(answer.unit, null);
});

test('a unit tells what it asks for', () => {
  assert.deepEqual(unitInfo(frames.unit), { id: UNIT, model: MODEL, first: 0, end: 2, sequences: 2, rows: 4, maxNew: 27, check: false });
  assert.deepEqual(unitInfo(frames.check), { id: UNIT, model: MODEL, first: 0, end: 2, sequences: 2, rows: 4, maxNew: 0, check: true });
});

test('a result tells tokens, time and what did not go well', () => {
  assert.deepEqual(resultInfo(frames.result), { id: UNIT, tokens: 4, micros: 1234567, notOk: 1 });
});

test('every prefix and every wrong byte of an answer is refused', () => {
  for (const name of ['work', 'none']) {
    const frame = frames[name];
    for (let len = 0; len < frame.length; len++)
      assert.throws(() => parseAnswer(frame.slice(0, len)), Syn1Error, `${name} of ${len} bytes`);
    for (let at = 0; at < frame.length; at++) {
      const wrong = frame.slice();
      wrong[at] ^= 1;
      assert.throws(() => parseAnswer(wrong), Syn1Error, `${name} with byte ${at} wrong`);
    }
  }
  assert.throws(() => parseAnswer(new Uint8Array([...frames.none, 0])), Syn1Error);
});

test('fields out of range are refused even with a right checksum', () => {
  const wrong = [
    ['magic', 0, [0]], ['version', 4, [2]], ['kind', 5, [1]], ['unknown flag', 6, [8]], ['flags of a unit', 6, [1]],
    ['sequences', 28, [1]], ['dim', 52, [1]], ['reason past the last', HEADER_LEN, [9, 0]],
    ['work without a unit', HEADER_LEN, [0, 0]], ['outcome', HEADER_LEN + 2, [3]],
    ['zero that is not', HEADER_LEN + 3, [1]], ['unit length', HEADER_LEN + 8, [1]],
  ];
  for (const [name, at, bytes] of wrong) {
    const frame = patched(frames.none, /** @type {number} */ (at), /** @type {number[]} */ (bytes));
    assert.throws(() => parseAnswer(frame), Syn1Error, String(name));
  }
});

test('units and results whose lengths do not add up are refused', () => {
  for (const at of [16, 66, 68]) // n_rows, n_bias, n_stop of the first sequence
    assert.throws(() => unitInfo(patched(frames.unit, HEADER_LEN + at, [9])), Syn1Error);
  for (const at of [16, 20, 24]) // n_rows, n_tokens, n_prints
    assert.throws(() => resultInfo(patched(frames.result, HEADER_LEN + at, [255, 255, 255])), Syn1Error);
  assert.throws(() => unitInfo(frames.result), Syn1Error);
});

test('a call that the format cannot hold is refused', () => {
  const call = { number: 1, held: [], models: [], slots: 0, memory: 0, prefill: 0, decode: 0, waitMs: 0, result: null };
  assert.throws(() => encodeCall({ ...call, held: Array(9).fill('00'.repeat(16)) }), Syn1Error);
  assert.throws(() => encodeCall({ ...call, held: ['00'] }), Syn1Error);
  assert.throws(() => encodeCall({ ...call, held: ['zz'.repeat(16)] }), Syn1Error);
  assert.throws(() => encodeCall({ ...call, waitMs: 25001 }), Syn1Error);
});
