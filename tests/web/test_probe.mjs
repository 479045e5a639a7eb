// test_probe.mjs - the WASM engine gives the committed answer, and one that
// would not is found out.
// @ts-check

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';

import { ShardMismatch, WasmEngine } from '../../volunteer/web/engine_wasm.mjs';
import { parseProbe, prove } from '../../volunteer/web/probe.mjs';
import { resultInfo, unitInfo } from '../../volunteer/web/syn1.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const wasm = readFileSync(path.resolve(root, process.env.SYNAPSE_WASM ?? 'build/wasm', 'synapse-simd.wasm'));
const bytes = new Uint8Array(readFileSync(path.join(root, 'volunteer/web/probe.bin')));

const start = () => WasmEngine.start(wasm, 'wasm-simd');

test('the engine proves itself', async () => {
  assert.ok((await prove(await start(), parseProbe(bytes))) > 0);
});

test('one wrong token of the answer is noticed', async () => {
  const probe = parseProbe(bytes);
  probe.result[probe.result.length - 40] ^= 1;
  await assert.rejects(prove(await start(), probe), /known piece of work was wrong/);
});

test('a probe whose lengths do not add up is refused', () => {
  assert.throws(() => parseProbe(bytes.slice(0, 8)), /ends early/);
  assert.throws(() => parseProbe(bytes.slice(0, -1)), /does not add up/);
});

test('a shard that was damaged in storage is named by its hash', async () => {
  const { shard, unit } = parseProbe(bytes);
  const sha256 = 'ab'.repeat(32);
  const load = (await start()).load(unitInfo(unit).model, [{ name: 'x', blob: new Blob([shard]), sha256 }], 64e6, () => {});
  await assert.rejects(load, (error) => error instanceof ShardMismatch && error.sha256 === sha256);
});

test('what is not a unit for the model is refused, and the engine goes on', async () => {
  const { shard, unit, result } = parseProbe(bytes);
  const engine = await start();
  const hash = engine.newHasher();
  hash.update(shard);
  const shards = [{ name: 'probe', blob: new Blob([shard]), sha256: hash.hex() }];
  await engine.load(unitInfo(unit).model, shards, 64e6, () => {});
  assert.throws(() => engine.run(result), /the unit was refused/);
  assert.throws(() => engine.run(unit.slice(0, -1)), /the unit was refused/);
  assert.equal(resultInfo(engine.run(unit)).tokens, resultInfo(result).tokens);
});

test("the module's SHA-256 is right for pieces of any size", async () => {
  const engine = await start();
  const hash = engine.newHasher();
  for (const piece of ['a', '', 'bc']) hash.update(new TextEncoder().encode(piece));
  assert.equal(hash.hex(), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});
