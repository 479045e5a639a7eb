// test_webgpu_kernels_browser.mjs - in Chromium, too, every kernel gives the bytes
// of its C twin, on all the inputs that it has in Node. Without an adapter it fails.
// @ts-check

import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';

import { servePages } from '../../ops/bench/page_server.mjs';
import { launchChromium } from '../../ops/lib/browsers.mjs';
import { KERNELS } from '../../volunteer/web/webgpu_shaders.mjs';
import { root } from '../web/webgpu_node.mjs';
import { makeCases } from './cases_made.mjs';

/** Runs in the page. */
async function runInPage() {
  const load = (/** @type {string} */ url) => import(url);
  const [{ GpuHold }, { assemble, fetchShader }, { runCases }] = await Promise.all(
    ['/web/webgpu_device.mjs', '/web/webgpu_shaders.mjs', '/tests/kernel_cases.mjs'].map(load));
  const [cases, blob] = await Promise.all(
    [fetch('/cases/cases.json').then((r) => r.json()), fetch('/cases/cases.bin').then((r) => r.arrayBuffer())]);
  const hold = await GpuHold.open(navigator.gpu);
  const sources = await assemble(fetchShader, hold.info.subgroups);
  const { ran, wrong } = await hold.scoped(() => runCases(hold.device, sources, cases, new Uint8Array(blob)));
  hold.close();
  return { adapter: hold.info.adapter, subgroups: hold.info.subgroups, given: cases.length, ran, wrong };
}

test('kernels give the bytes of their C twins in Chromium', async () => {
  const { dir, done } = makeCases();
  const at = (/** @type {string} */ folder) => `${path.join(root, folder)}/`;
  const pages = await servePages({
    '/web/shaders/': at('shaders'), '/web/': at('volunteer/web'), '/tests/': at('tests/shaders'), '/cases/': `${dir}/`,
  });
  const browser = await launchChromium(['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']);
  try {
    const page = await browser.newPage();
    await page.goto(pages.url);
    const { adapter, given, ran, wrong } = await page.evaluate(runInPage);
    assert.match(adapter, /swiftshader/i);
    assert.deepEqual(wrong, []);
    assert.deepEqual(Object.keys(ran).sort(), [...KERNELS].sort(), 'no kernel is left out');
    assert.equal(Object.values(ran).reduce((sum, /** @type {number} */ n) => sum + n, 0), given, 'nor a case');
  } finally {
    await browser.close();
    pages.close();
    done();
  }
});
