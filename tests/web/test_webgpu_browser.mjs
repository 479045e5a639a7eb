// test_webgpu_browser.mjs - in Chromium, in a worker as the page has it: the
// WebGPU engine proves itself on the software adapter; and a device without a
// real GPU computes on WASM and says why.
// @ts-check

import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';

import { servePages } from '../../ops/bench/page_server.mjs';
import { launchChromium } from '../../ops/lib/browsers.mjs';
import { root } from './webgpu_node.mjs';

const assets = path.resolve(root, process.env.SYNAPSE_BUILD ?? 'build/dev', 'web/assets');
const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

/** Runs in the page's worker. */
const WORK = `
import { EnginePair } from "/assets/engine_pair.mjs";
import { WasmEngine } from "/assets/engine_wasm.mjs";
import { fetchProbe, prove } from "/assets/probe.mjs";
import { WebGpuEngine } from "/assets/webgpu_engine.mjs";
const newWasm = () => WasmEngine.open("/assets/synapse-simd.wasm");
self.onmessage = async ({ data }) => {
  try {
    const wasm = await newWasm();
    if (data === "prove") {
      const engine = await WebGpuEngine.start(navigator.gpu, { newHasher: () => wasm.newHasher() });
      await prove(engine, await fetchProbe());
      self.postMessage({ adapter: engine.hold.info.adapter });
    } else {
      const notes = [];
      const pair = await EnginePair.open(newWasm, navigator.gpu, (text) => notes.push(text));
      await prove(pair, await fetchProbe());
      self.postMessage({ backend: pair.backend, notes });
    }
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};`;

test('the engines prove themselves in Chromium', async () => {
  const pages = await servePages({ '/assets/': `${assets}/` });
  const browser = await launchChromium(WEBGPU);
  try {
    const page = await browser.newPage();
    await page.goto(pages.url);
    const ask = (/** @type {string} */ what) => page.evaluate(async ({ code, what: data }) => {
      const absolute = code.replaceAll('"/assets/', `"${location.origin}/assets/`);
      const url = URL.createObjectURL(new Blob([absolute], { type: 'text/javascript' }));
      const worker = new Worker(url, { type: 'module' });
      return new Promise((resolve, reject) => {
        worker.onmessage = (event) => resolve(event.data);
        worker.onerror = (event) => reject(new Error(event.message));
        worker.postMessage(data);
      });
    }, { code: WORK, what });
    const proved = /** @type {any} */ (await ask('prove'));
    assert.equal(proved.error, undefined);
    assert.match(proved.adapter, /swiftshader/i);
    const pair = /** @type {any} */ (await ask('pair'));
    assert.deepEqual([pair.error, pair.backend], [undefined, 'wasm-simd']);
    assert.match(pair.notes[0], /no real GPU/);
  } finally {
    await browser.close();
    pages.close();
  }
});
