// test_webgpu_probe.mjs - the WebGPU engine gives the committed answer, with
// and without subgroups; where the GPU is lost or fails in the middle of a unit,
// WASM computes it all the same, and the engine alone says what happened.
// @ts-check

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { createHash } from "node:crypto";

import { openGpu, readShader, root } from "./webgpu_node.mjs";
import { EnginePair } from "../../volunteer/web/engine_pair.mjs";
import { WasmEngine } from "../../volunteer/web/engine_wasm.mjs";
import { parseProbe, prove } from "../../volunteer/web/probe.mjs";
import { WebGpuEngine } from "../../volunteer/web/webgpu_engine.mjs";

const gpu = openGpu();
const bytes = new Uint8Array(readFileSync(path.join(root, "volunteer/web/probe.bin")));

/** @returns {import("../../volunteer/web/shard_fetch.mjs").Hasher} */
const newHasher = () => {
  const hash = createHash("sha256");
  return { update: (b) => void hash.update(b), hex: () => hash.digest("hex") };
};

for (const subgroups of [true, false])
  test(`the engine proves itself ${subgroups ? "with" : "without"} subgroups`, async () => {
    const engine = await WebGpuEngine.start(gpu, { newHasher, read: readShader, subgroups });
    assert.ok((await prove(engine, parseProbe(bytes))) > 0);
    engine.close();
  });

test("a GPU lost in the middle of a unit gives way to WASM", async () => {
  const module = readFileSync(path.resolve(root, process.env.SYNAPSE_WASM ?? "build/wasm", "synapse-simd.wasm"));
  const wasm = await WasmEngine.start(module, "wasm-simd");
  const engine = await WebGpuEngine.start(gpu, { newHasher, read: readShader });
  const { submit } = engine;
  let slices = 0;
  engine.submit = (...args) => {
    if (++slices === 2) engine.device.destroy();
    return submit.apply(engine, args);
  };
  /** @type {string[]} */
  const notes = [];
  const pair = new EnginePair(wasm, engine, (text) => void notes.push(text));
  assert.equal(pair.backend, "webgpu");
  const probe = parseProbe(bytes);
  await prove(pair, probe);
  assert.equal(slices, 2);
  assert.equal(pair.backend, "wasm-simd");
  assert.match(notes.join(), /The GPU failed, WebAssembly goes on/);
  await assert.rejects(engine.run(probe.unit), /lost|destroyed/i);
  assert.equal(engine.freeSlots(), 64);
});

/** @type {Record<string, (device: GPUDevice) => void>} */
const failures = {
  "a validation error": (device) => void device.createBuffer({ size: 16, usage: 0 }),
  "a lack of memory": (device) => {
    device.popErrorScope = async () => new GPUOutOfMemoryError("no memory is left");
  },
};
for (const [what, fail] of Object.entries(failures))
  test(`${what} in the middle of a unit gives way to WASM`, async () => {
    const module = readFileSync(path.resolve(root, process.env.SYNAPSE_WASM ?? "build/wasm", "synapse-simd.wasm"));
    const engine = await WebGpuEngine.start(gpu, { newHasher, read: readShader });
    const { submit } = engine;
    engine.submit = (...args) => {
      fail(engine.device);
      return submit.apply(engine, args);
    };
    /** @type {string[]} */
    const notes = [];
    const pair = new EnginePair(await WasmEngine.start(module, "wasm-simd"), engine, (text) => void notes.push(text));
    await prove(pair, parseProbe(bytes));
    assert.equal(pair.backend, "wasm-simd");
    assert.match(notes.join(), /The GPU failed, WebAssembly goes on/);
    assert.equal(engine.freeSlots(), 64);
  });
