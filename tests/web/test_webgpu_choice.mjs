// test_webgpu_choice.mjs - which engine a device computes with: the GPU only
// where it is right byte for byte and the faster one, and people are told why.
// The GPU is a software adapter under another name, and WASM is slowed down
// where it is to lose.
// @ts-check

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import test, { afterEach } from "node:test";
import { fileURLToPath } from "node:url";

import { openGpu, root } from "./webgpu_node.mjs";
import { EnginePair } from "../../volunteer/web/engine_pair.mjs";
import { WasmEngine } from "../../volunteer/web/engine_wasm.mjs";

const SHAPE = { layers: 1, width: 64, heads: 1, vocab: 128, context: 64 }; // a software adapter is slow
const gpu = openGpu();
const module = readFileSync(path.resolve(root, process.env.SYNAPSE_WASM ?? "build/wasm", "synapse-simd.wasm"));

/** What a page would fetch lies on the disk: the probe, and shaders as changed.
 * @param {(name: string, text: string) => string} [change] */
function serve(change = (_, text) => text) {
  globalThis.fetch = async (input) => {
    const file = fileURLToPath(String(input)).replace("volunteer/web/shaders", "shaders");
    if (!file.endsWith(".wgsl")) return new Response(readFileSync(file));
    return new Response(change(path.basename(file), readFileSync(file, "utf8")));
  };
}
const { fetch } = globalThis;
afterEach(() => {
  globalThis.fetch = fetch;
});

/** The adapter, but by another name. @param {string} name @returns {GPU} */
function named(name) {
  const info = { vendor: "", architecture: "", device: "", description: name };
  return /** @type {any} */ ({
    wgslLanguageFeatures: gpu.wgslLanguageFeatures,
    async requestAdapter(/** @type {GPURequestAdapterOptions} */ options) {
      const adapter = /** @type {any} */ (await gpu.requestAdapter(options));
      return new Proxy(adapter, {
        get(target, key) {
          const value = key === "info" ? info : target[key];
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    },
  });
}

/** @param {GPU|undefined} adapter @param {{delayMs?: number, always?: boolean}} [how] */
async function chosen(adapter, { delayMs = 0, always = false } = {}) {
  /** @type {string[]} */
  const notes = [];
  const newWasm = async () => {
    const wasm = await WasmEngine.start(module, "wasm-simd");
    const { run } = wasm;
    let warm = false; // the second run is the one that counts
    wasm.run = (frame) => {
      if (delayMs && warm) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs);
      warm = true;
      return run.call(wasm, frame);
    };
    return wasm;
  };
  const pair = await EnginePair.open(newWasm, adapter, (text) => void notes.push(text), { always, shape: SHAPE });
  pair.gpu?.close();
  return { backend: pair.backend, note: notes.join(" ") };
}

test("the GPU computes where it is the faster one", async () => {
  serve();
  const { backend, note } = await chosen(named("Fast Card"), { delayMs: 20_000 });
  assert.equal(backend, "webgpu", note);
  assert.match(note, /^Computing on Fast Card, \d+\.\d times as fast as WebAssembly here\.$/);
});

test("WASM computes where the GPU is slower, is none, or is not there", async () => {
  serve();
  assert.deepEqual(await chosen(named("Slow Card")), { backend: "wasm-simd", note: "Slow Card is slower than WebAssembly here." });
  const software = await chosen(gpu);
  assert.equal(software.backend, "wasm-simd");
  assert.match(software.note, /is no real GPU\.$/);
  assert.deepEqual(await chosen(undefined), { backend: "wasm-simd", note: "" });
  const none = /** @type {any} */ ({ requestAdapter: async () => null });
  assert.deepEqual(await chosen(none), { backend: "wasm-simd", note: "The GPU is not used: no GPU is offered to this page." });
});

test("a GPU whose answer is wrong in a byte is not used, however fast", async () => {
  serve((name, text) => (name === "product.wgsl" ? text.replace("vec4i(64 *", "vec4i(63 *") : text));
  const { backend, note } = await chosen(named("Wrong Card"), { always: true });
  assert.equal(backend, "wasm-simd");
  assert.match(note, /^The GPU is not used: /);
});
