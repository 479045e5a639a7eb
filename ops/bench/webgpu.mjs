// webgpu.mjs - how fast the WebGPU engine is, and where its time goes. Runs
// anywhere Node and a Vulkan driver are; ops/bench/webgpu starts it.
//
//   ops/bench/webgpu [124m|1.5b|small ...]
//
// Weights are pseudo-random: speed does not depend on them. For each shape:
// decoding one sequence (context at most 128), 64 sequences together, prompts,
// the dispatches of a token, and the floor: plain reads of the same matrices,
// one dispatch each, each waiting for the one before, in turns with the decoding.
// It ends with a tab-separated line a row: name, ours, limit, ratio, bar, ok or
// short.
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

/** What must be reached on one NVIDIA H200: tok/s, and of the floor. @type {Record<string, Record<string, number>>} */
const BARS = {
  "124m": { "decode 1": 1800, "decode 64": 30000, prompts: 40000 },
  "1.5b": { "decode 1 / floor": 0.7 },
};
const WARM_MS = 8000; // an idle H200 took 5 s to reach its clock
const ROUNDS = 7; // odd

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

/**
 * What reads a model's matrices once, as a floor for a token: call it for ms.
 * @param {WebGpuEngine} engine
 */
async function floorReader(engine) {
  const { device } = engine;
  const module = device.createShaderModule({ code: READ });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
  const y = device.createBuffer({ size: 256, usage: 128 });
  const model = /** @type {any} */ (engine.model);
  const parts = [...model.layers.flatMap((/** @type {any} */ l) => [l.qkv, l.o, l.up, l.down]), model.head].flatMap((m) => m.parts);
  const groups = parts.map((p) => device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer: p.w } }, { binding: 1, resource: { buffer: y } }],
  }));
  return () => passMs(device, parts.length, (pass) => {
    pass.setPipeline(pipeline);
    groups.forEach((group, i) => {
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.min(2048, Math.ceil(parts[i].w.size / 16 / 256)));
    });
  });
}

/**
 * Milliseconds that the GPU takes for some dispatches, again and again: those of
 * a second submission, which is recorded while it works on the first.
 * @param {GPUDevice} device
 * @param {number} dispatches
 * @param {(pass: GPUComputePassEncoder) => void} put
 */
async function passMs(device, dispatches, put) {
  const times = Math.max(10, Math.ceil(1000 / dispatches));
  const submit = () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let k = 0; k < times; k++) put(pass);
    pass.end();
    device.queue.submit([encoder.finish()]);
    return device.queue.onSubmittedWorkDone().then(() => performance.now());
  };
  const [first, second] = await Promise.all([submit(), submit()]);
  return (second - first) / times;
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
    const [ms] = await medianOf(() => passMs(device, ops.length, (pass) => graph.encode(pass, ops, rows)));
    console.log(`    ${name.padEnd(12)} ${String(ops.length).padStart(4)} dispatches ${(ms * 1e3).toFixed(1).padStart(8)} us, ${(ms * 1e3 / ops.length).toFixed(2)} us each`);
  }
}

/**
 * @typedef {import("../../volunteer/web/bench_model.mjs").Ask} Ask
 * @typedef {import("../../volunteer/web/bench_model.mjs").Shape} Shape
 */

/** @param {WebGpuEngine} engine @param {Ask[]} asks */
async function unitMs(engine, asks) {
  const unit = benchUnit(asks);
  const start = performance.now();
  await engine.run(unit);
  return performance.now() - start;
}

/**
 * The median of several measurements of each kind, taken in turns.
 * @param {(() => Promise<number>)[]} kinds
 */
async function medianOf(...kinds) {
  const all = kinds.map(() => /** @type {number[]} */ ([]));
  for (let i = 0; i < ROUNDS; i++)
    for (const [k, measure] of kinds.entries()) all[k].push(await measure());
  return all.map((some) => some.sort((a, b) => a - b)[ROUNDS >> 1]);
}

/**
 * @param {WebGpuEngine} engine
 * @param {Shape} shape
 * @returns {Promise<Record<string, [number, number]>>} ours and a limit, tok/s; a limit of 0: there is none but the bar
 */
async function figures(engine, shape) {
  const asks = (/** @type {number} */ n, /** @type {number} */ rows, /** @type {number} */ more) => benchAsks(n, rows, more, shape.vocab);
  const run = (/** @type {Ask[]} */ all) => () => unitMs(engine, all);
  for (const until = performance.now() + WARM_MS; performance.now() < until;) await unitMs(engine, asks(64, 16, 33));
  const [one, many, floor] = await medianOf(run(asks(1, 16, 1)), run(asks(1, 16, 112)), await floorReader(engine));
  const step = (many - one) / 111;
  console.log(`  decode 1: ${(1000 / step).toFixed(0)} tok/s, ${(step * 1e3).toFixed(0)} us a token (whole units: ${(112000 / many).toFixed(0)})`);
  console.log(`  floor: ${(floor * 1e3).toFixed(0)} us a token; decode 1 is at ${(100 * floor / step).toFixed(0)} % of it; ${engine.graph?.dispatches} dispatches a token`);
  const [sampled] = await medianOf(run(benchAsks(1, 16, 64, shape.vocab, { invTemp: 65536, topP: 60000, seed: 7n })));
  console.log(`  decode 1, sampled with top_p: ${(63000 / (sampled - one)).toFixed(0)} tok/s`);
  const [a, b] = await medianOf(run(asks(64, 16, 1)), run(asks(64, 16, 97)));
  console.log(`  decode 64: ${(64 * 96000 / (b - a)).toFixed(0)} tok/s (whole units: ${(64 * 97000 / b).toFixed(0)})`);
  const length = Math.min(512, shape.context / 2);
  const [prompt] = await medianOf(run(asks(8, length, 1)));
  console.log(`  prompts: ${(8 * length * 1000 / prompt).toFixed(0)} tok/s (8 of ${length})`);
  return {
    "decode 1": [1000 / step, 0], "decode 64": [64 * 96000 / (b - a), 0], prompts: [8 * length * 1000 / prompt, 0],
    "decode 1 / floor": [1000 / step, 1000 / floor],
  };
}

/**
 * A line for each bar of a shape.
 * @param {string} name
 * @param {Record<string, [number, number]>} measured
 */
function rowsOf(name, measured) {
  return Object.entries(BARS[name] ?? {}).map(([what, bar]) => {
    const [ours, floor] = measured[what];
    const limit = floor || bar;
    const least = floor ? bar : 1;
    return [`webgpu ${name} ${what}, tok/s`, ours.toFixed(0), limit.toFixed(0), (ours / limit).toFixed(2), least,
      ours / limit >= least ? "ok" : "short"].join("\t");
  });
}

/**
 * The same units on the WASM engine: byte for byte.
 * @param {WebGpuEngine} engine
 * @param {any} shard
 * @param {Shape} shape
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
/** @type {string[]} */
const rows = [];
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
  rows.push(...rowsOf(name, await figures(engine, shape)));
  for (const n of [1, 64]) {
    console.log(`  kernels, ${n} rows at position 100, one step:`);
    await kernelTimes(engine, n);
  }
  engine.close();
}
for (const row of rows) console.log(row);
process.exit();
