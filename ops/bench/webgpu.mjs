// webgpu.mjs - how fast the WebGPU engine is, and where its time goes. Runs
// anywhere Node and a Vulkan driver are; ops/bench/webgpu starts it.
//
//   ops/bench/webgpu [124m|1.5b|small ...]
//
// Weights are pseudo-random: speed does not depend on them. For each shape:
// decoding one sequence (context at most 128), 64 sequences together, prompts,
// the dispatches of a token, and the floor: plain reads of the same matrices,
// one dispatch each, each waiting for the one before.
// @ts-check

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";

import { openGpu, readShader } from "../../tests/web/webgpu_node.mjs";
import { WasmEngine } from "../../volunteer/web/engine_wasm.mjs";
import { BENCH_ID, benchAsks, benchShard, benchUnit } from "../../volunteer/web/bench_model.mjs";
import { resultInfo } from "../../volunteer/web/syn1.mjs";
import { WebGpuEngine } from "../../volunteer/web/webgpu_engine.mjs";

const SHAPES = {
  small: { layers: 2, width: 256, heads: 4, vocab: 2048, context: 256 },
  "124m": { layers: 12, width: 768, heads: 12, vocab: 50257, context: 1024 },
  "1.5b": { layers: 48, width: 1600, heads: 25, vocab: 50257, context: 1024 },
};

const READ = `
@group(0) @binding(0) var<storage, read> w: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  var s = vec4u(0u);
  for (var i = id.x; i < arrayLength(&w); i += n.x * 256u) { s += w[i]; }
  if (s.x + s.y + s.z + s.w == 12345u) { y[id.x % 64u] = 1u; }
}`;

const newHasher = () => {
  const hash = createHash("sha256");
  return { update: (/** @type {Uint8Array} */ b) => void hash.update(b), hex: () => hash.digest("hex") };
};

/** @param {WebGpuEngine} engine */
async function floorMs(engine) {
  const { device } = engine;
  const module = device.createShaderModule({ code: READ });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
  const y = device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE });
  const model = /** @type {any} */ (engine.model);
  const parts = [...model.layers.flatMap((/** @type {any} */ l) => [l.qkv, l.o, l.up, l.down]), model.head].flatMap((m) => m.parts);
  const groups = parts.map((p) => device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer: p.w } }, { binding: 1, resource: { buffer: y } }],
  }));
  const run = async () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    for (let k = 0; k < 10; k++)
      groups.forEach((group, i) => {
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(Math.min(2048, Math.ceil(parts[i].w.size / 16 / 256)));
      });
    pass.end();
    const start = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return (performance.now() - start) / 10;
  };
  const times = [];
  for (let i = 0; i < 5; i++) times.push(await run());
  return Math.min(...times);
}

/**
 * Milliseconds of one step of so many rows at a position, and of each kernel
 * alone (its dispatches of a step, again and again).
 * @param {WebGpuEngine} engine
 * @param {number} rows
 */
async function kernelTimes(engine, rows) {
  const { device } = engine;
  const graph = /** @type {any} */ (engine.graph);
  const many = rows > 8 ? "many" : "few";
  /** @type {Map<string, any[]>} */
  const kinds = new Map([["all", [...graph.layers[many], ...graph.ends[many]]]]);
  for (const op of kinds.get("all") ?? []) {
    const name = op.pipeline.label.split(" ")[0];
    kinds.set(name, [...(kinds.get(name) ?? []), op]);
  }
  const desc = Uint32Array.from({ length: rows * 4 }, (_, i) => [i >> 2, 100, 0, 0][i % 4]);
  const heads = Uint32Array.from({ length: rows * 4 }, (_, i) => [i >> 2, i >> 2, 0, 0][i % 4]);
  device.queue.writeBuffer(graph.buffers.rows, 0, desc);
  device.queue.writeBuffer(graph.buffers.answerers, 0, heads);
  for (const [name, ops] of kinds) {
    let best = Infinity;
    for (let r = 0; r < 4; r++) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let k = 0; k < 10; k++) graph.encode(pass, ops, rows);
      pass.end();
      const start = performance.now();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      best = Math.min(best, (performance.now() - start) / 10);
    }
    console.log(`    ${name.padEnd(12)} ${String(ops.length).padStart(4)} dispatches ${(best * 1e3).toFixed(1).padStart(8)} us, ${(best * 1e3 / ops.length).toFixed(2)} us each`);
  }
}

/**
 * @param {WebGpuEngine} engine
 * @param {import("../../volunteer/web/bench_model.mjs").Ask[]} asks
 */
async function timed(engine, asks) {
  let best = Infinity;
  for (let i = 0; i < 4; i++) {
    const unit = benchUnit(asks);
    const start = performance.now();
    await engine.run(unit);
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

/**
 * @param {WebGpuEngine} engine
 * @param {import("../../volunteer/web/bench_model.mjs").Shape} shape
 */
async function figures(engine, shape) {
  const asks = (/** @type {number} */ n, /** @type {number} */ rows, /** @type {number} */ more) => benchAsks(n, rows, more, shape.vocab);
  const one = await timed(engine, asks(1, 16, 1));
  const many = await timed(engine, asks(1, 16, 112));
  const step = (many - one) / 111;
  console.log(`  decode 1: ${(1000 / step).toFixed(0)} tok/s, ${(step * 1e3).toFixed(0)} us a token (whole units: ${(112000 / many).toFixed(0)})`);
  const sampled = await timed(engine, benchAsks(1, 16, 64, shape.vocab, { invTemp: 65536, topP: 60000, seed: 7n }));
  console.log(`  decode 1, sampled with top_p: ${(63000 / (sampled - one)).toFixed(0)} tok/s`);
  const a = await timed(engine, asks(64, 16, 1));
  const b = await timed(engine, asks(64, 16, 97));
  console.log(`  decode 64: ${(64 * 96000 / (b - a)).toFixed(0)} tok/s (whole units: ${(64 * 97000 / b).toFixed(0)})`);
  const length = Math.min(512, shape.context / 2);
  const prompt = await timed(engine, asks(8, length, 1));
  console.log(`  prompts: ${(8 * length * 1000 / prompt).toFixed(0)} tok/s (8 of ${length})`);
  const floor = await floorMs(engine);
  console.log(`  floor: ${(floor * 1e3).toFixed(0)} us a token; decode 1 is at ${(100 * floor / step).toFixed(0)} % of it; ${engine.graph?.dispatches} dispatches a token`);
}

/**
 * The same units on the WASM engine: byte for byte.
 * @param {WebGpuEngine} engine
 * @param {any} shard
 * @param {import("../../volunteer/web/bench_model.mjs").Shape} shape
 */
async function compare(engine, shard, shape) {
  const file = process.env.SYNAPSE_WASM;
  if (!file) return;
  const wasm = await WasmEngine.start(readFileSync(path.resolve(file)), "wasm");
  await wasm.load(BENCH_ID, [shard], 1e9, () => {});
  const unit = benchUnit([
    ...benchAsks(3, 20, 12, shape.vocab),
    ...benchAsks(2, 70, 8, shape.vocab, { invTemp: 65536, topP: 60000, seed: 9n }).map((a) => ({ ...a, id: a.id + 100n })),
    ...benchAsks(1, 40, 0, shape.vocab, { predict: 40 }).map((a) => ({ ...a, id: 200n })),
  ]);
  const [ours, theirs] = [await engine.run(unit), wasm.run(unit)];
  const { tokens } = resultInfo(theirs);
  for (const frame of [ours, theirs]) frame.fill(0, 64, 72);
  const same = Buffer.compare(ours.subarray(0, -4), theirs.subarray(0, -4)) === 0;
  console.log(`  ${tokens} tokens on WASM: ${same ? "the same bytes" : "DIFFERENT BYTES"}`);
  if (!same) process.exitCode = 1;
}

const gpu = openGpu();
for (const name of process.argv.length > 2 ? process.argv.slice(2) : ["124m"]) {
  const shape = SHAPES[/** @type {keyof typeof SHAPES} */ (name)];
  if (!shape) throw new Error(`no such shape: ${name}`);
  const engine = await WebGpuEngine.start(gpu, { newHasher, read: readShader });
  console.log(`${name} on ${engine.hold.info.adapter}, subgroups ${engine.hold.info.subgroups}`);
  const blob = benchShard(shape);
  const hash = newHasher();
  hash.update(new Uint8Array(await blob.arrayBuffer()));
  const shard = { name, blob, sha256: hash.hex() };
  const start = performance.now();
  await engine.load(BENCH_ID, [shard], blob.size + 4e9, () => {});
  console.log(`  loaded ${(blob.size / 1e6).toFixed(0)} MB in ${((performance.now() - start) / 1e3).toFixed(1)} s`);
  if (name !== "1.5b") await compare(engine, shard, shape);
  await figures(engine, shape);
  for (const rows of [1, 64]) {
    console.log(`  kernels, ${rows} rows at position 100, one step:`);
    await kernelTimes(engine, rows);
  }
  engine.close();
}
process.exit();
