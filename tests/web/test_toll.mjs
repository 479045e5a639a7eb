// test_toll.mjs - the proof of work as a page solves it: by the WASM module,
// beside another implementation, and stopped half-way.
// @ts-check

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { WasmEngine } from '../../volunteer/web/engine_wasm.mjs';
import { payToll } from '../../volunteer/web/toll.mjs';

const file = `${process.env.SYNAPSE_BUILD ?? 'build/dev'}/web/assets/synapse-simd.wasm`;
const engine = await WasmEngine.start(readFileSync(file), 'wasm-simd');
const never = new AbortController().signal;

/** @param {string} challenge @param {string} nonce */
function zeroBits(challenge, nonce) {
  const seed = createHash('sha256').update(challenge).digest();
  const hash = createHash('sha256').update(seed).update(Buffer.from(nonce, 'hex')).digest('hex');
  return BigInt(`0x1${hash}`).toString(2).slice(1).indexOf('1');
}

test('what the module finds pays by another implementation', async () => {
  for (const bits of [0, 1, 8, 13, 17]) {
    /** @type {number[]} */
    const told = [];
    const nonce = await payToll(engine, `challenge ${bits}`, bits, (tries) => void told.push(tries), never);
    assert.match(nonce, /^[0-9a-f]{16}$/);
    assert.ok(zeroBits(`challenge ${bits}`, nonce) >= bits);
    assert.equal(told[0], 0);
  }
});

test('it can be stopped, and lets others run meanwhile', async () => {
  const control = new AbortController();
  let turns = 0;
  const timer = setInterval(() => {
    if (++turns === 5) control.abort(new Error('stopped'));
  }, 1);
  await assert.rejects(payToll(engine, 'x', 40, () => {}, control.signal), /stopped/);
  clearInterval(timer);
  assert.equal(turns, 5);
});

test('what nobody should pay is refused', async () => {
  for (const bits of [41, -1, NaN]) await assert.rejects(payToll(engine, 'x', bits, () => {}, never), /too much/);
});
