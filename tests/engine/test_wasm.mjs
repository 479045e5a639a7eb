// @ts-check
// The engine as WebAssembly: every kernel equals the reference, and the
// committed digests, of results and of fingerprints, come out, with plain and
// with relaxed SIMD, on one thread and on several, in Node and in Chromium.
// `cmake --build --preset wasm` makes the modules.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

import { servePages } from "../../ops/bench/page_server.mjs";
import { NodeThread } from "./thread_node.mjs";
import { checkThreads, startTwins } from "./threads_check.mjs";

const BUILD = new URL("../../build/wasm/", import.meta.url);

// enum engine_isa
const KERNELS = { best: 0, ref: 1, simd: 5, relaxed: 6, pairs: 7 };
const MODULES = {
  "twins-simd.wasm": ["best", "ref", "simd"],
  "twins-relaxed.wasm": ["best", "simd", "relaxed", "pairs"],
};

/**
 * Run one check in a fresh instance: "" if all is well. Also run in the page,
 * so it refers to nothing outside.
 * @param {{base64: string, check: string, isa: number}} job
 * @returns {Promise<string>}
 */
async function runCheck({ base64, check, isa }) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const { instance } = await WebAssembly.instantiate(bytes, {});
  const wasm = /** @type {any} */ (instance.exports);
  wasm._initialize();
  const ptr = wasm[check](isa, 0, 0, 1) >>> 0;
  if (ptr === 0) return "the module has no such kernels";
  const rest = new Uint8Array(wasm.memory.buffer, ptr);
  return new TextDecoder().decode(rest.slice(0, rest.indexOf(0)));
}

/** @param {string} folder */
const root = (folder) => fileURLToPath(new URL(`../../${folder}`, import.meta.url));

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {import("playwright-core").Page} */
let page;

before(async () => {
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: sandbox });
  page = await browser.newPage();
});
after(() => browser?.close());

for (const [file, names] of Object.entries(MODULES))
  for (const name of names)
    for (const check of ["twins", "digest"])
      test(`${file} with ${name} kernels: ${check} equal in Node and Chromium`, async () => {
        const bytes = await readFile(fileURLToPath(new URL(file, BUILD)));
        const isa = /** @type {Record<string, number>} */ (KERNELS)[name];
        const job = { base64: bytes.toString("base64"), check, isa };
        assert.equal(await runCheck(job), "");
        assert.equal(await page.evaluate(runCheck, job), "");
      });

for (const file of Object.keys(MODULES))
  test(`${file}: fingerprints equal in Node and Chromium`, async () => {
    const bytes = await readFile(fileURLToPath(new URL(file, BUILD)));
    const job = { base64: bytes.toString("base64"), check: "prints", isa: KERNELS.best };
    assert.equal(await runCheck(job), "");
    assert.equal(await page.evaluate(runCheck, job), "");
  });

test("a module without relaxed kernels says so", async () => {
  const bytes = await readFile(fileURLToPath(new URL("twins-simd.wasm", BUILD)));
  const job = { base64: bytes.toString("base64"), check: "twins", isa: KERNELS.relaxed };
  assert.equal(await runCheck(job), "the module has no such kernels");
});

for (const [file, isa] of [["twins-simd-threads.wasm", KERNELS.simd], ["twins-relaxed-threads.wasm", KERNELS.relaxed]])
  test(`${file}: the digest of 1, 2 and 3 threads in Node and Chromium`, async () => {
    const bytes = await readFile(fileURLToPath(new URL(String(file), BUILD)));
    assert.equal(await checkThreads(bytes, Number(isa), () => new NodeThread()), "");
    const server = await servePages({ "/volunteer/": root("volunteer"), "/tests/": root("tests"), "/wasm/": fileURLToPath(BUILD) });
    const isolated = await browser.newPage();
    try {
      await isolated.goto(server.url);
      const why = await isolated.evaluate(({ file, isa }) => new Promise((resolve) => {
        const worker = new Worker("/tests/engine/threads_check.mjs", { type: "module" });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => resolve(event.message || "the worker did not start");
        worker.postMessage({ url: `/wasm/${file}`, isa });
      }), { file, isa });
      assert.equal(why, "");
    } finally {
      await isolated.close();
      server.close();
    }
  });

test("where a thread does not start there is one, and the same digest", async () => {
  const bytes = await readFile(fileURLToPath(new URL("twins-simd-threads.wasm", BUILD)));
  let started = 0;
  const missing = new URL("no_such_file.mjs", import.meta.url);
  const twins = await startTwins(bytes, () => new NodeThread(started++ ? missing : undefined));
  assert.equal(await twins.threads.resize(3), 1);
  assert.match(String(twins.threads.broken), /no_such_file/);
  assert.equal(twins.digest(KERNELS.simd), "");
  assert.equal(await twins.threads.resize(2), 1, "no other is started");
  assert.equal(started, 2);
});

test("a thread that fails fails the unit, and does not hold it up", async () => {
  const bytes = await readFile(fileURLToPath(new URL("twins-simd-threads.wasm", BUILD)));
  const twins = await startTwins(bytes, () => new NodeThread());
  assert.equal(await twins.threads.resize(2), 2);
  twins.lose();
  assert.throws(() => twins.digest(KERNELS.simd), WebAssembly.RuntimeError);
  twins.threads.end("lost");
});
