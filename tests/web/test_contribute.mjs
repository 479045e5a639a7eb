// test_contribute.mjs - the pages in a real Chromium against a real synapsed:
// the contribute page computes, keeps its cache, works without a secure
// context, stops, comes back, and leaves.
// @ts-check

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { after, before } from 'node:test';

import { chromium } from 'playwright-core';

import { CHROMIUM_ARGS, launchChromium } from '../../ops/lib/browsers.mjs';
import { Grid, answerOf, kill, runLocal, until } from '../grid/grid.mjs';

/**
 * @typedef {import("playwright-core").Page} Page
 * @typedef {import("playwright-core").Browser} Browser
 */

const LIMIT_MS = 30000;
const INSECURE_HOST = 'grid.test';
// What Chromium says of a killed server, and of headers without https.
const EXPECTED = /ERR_|Failed to load resource|Cross-Origin-Opener-Policy header has been ignored/;

/** @type {Grid} */
let grid;
/** @type {Browser} */
let browser;
/** @type {string[]} what pages complained of */
const complaints = [];

before(async () => {
  grid = await Grid.start();
  browser = await launchChromium(['--no-proxy-server', `--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1`]);
});

after(async () => {
  await browser?.close();
  await grid?.stop();
});

/** @param {Page} page */
function watch(page) {
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (m) => {
    if (m.type() === 'error' && !EXPECTED.test(m.text())) complaints.push(m.text());
  });
  return page;
}

/**
 * The contribute page in a profile of its own.
 * @param {string} query
 * @param {{base?: string}} [options]
 */
async function openPage(query, { base = grid.url } = {}) {
  const context = await browser.newContext();
  const page = watch(await context.newPage());
  await page.goto(`${base}/contribute${query}`);
  return page;
}

/**
 * @param {Page} page
 * @param {RegExp} states
 */
function reached(page, states) {
  return until(async () => {
    const state = await page.evaluate(() => document.documentElement.dataset.state ?? '');
    if (state === 'failed' && !states.test(state)) throw new Error(`the page failed: ${await page.textContent('#detail')}`);
    return states.test(state) && state;
  }, `page that is ${states}`, LIMIT_MS);
}

/**
 * @param {Page} page
 * @param {string} id
 */
async function figure(page, id) {
  return Number(((await page.textContent(`#${id}`)) ?? '').replaceAll(',', ''));
}

/** @param {number} n */
function online(n) {
  return until(async () => (await grid.ask('/v1/stats')).online === n, `grid with ${n} volunteers`, LIMIT_MS);
}

/** @param {string} tag */
function requests(tag) {
  return [
    { custom_id: `${tag}-greedy`, prompt: 'Once upon a time there was a king', max_tokens: 24, temperature: 0 },
    { custom_id: `${tag}-sampled`, prompt: 'The wolf said', max_tokens: 24, temperature: 0.9, top_p: 0.95, seed: 11 },
  ];
}

/**
 * Have two lines computed; they must be those of `synapse run`.
 * @param {string} tag
 * @returns {Promise<any[]>} the result lines
 */
async function computed(tag) {
  const lines = await grid.compute(requests(tag));
  for (const request of requests(tag))
    assert.deepEqual(answerOf(lines.get(request.custom_id)), answerOf2(await runLocal(request)));
  return [...lines.values()];
}

/** @param {any} local */
function answerOf2({ text, tokens, finish_reason }) {
  return { text, tokens, finish_reason };
}

/** @param {any[]} lines */
function computers(lines) {
  return new Set(lines.flatMap((l) => l.response.body.synapse.computed_by.map((/** @type {any} */ v) => v.name)));
}

test('two browsers compute, and the referee checks what newcomers made', async () => {
  const pages = [await openPage('?autostart=1&intensity=100&name=anna'), await openPage('?autostart=1&intensity=100&name=ben')];
  await Promise.all(pages.map((page) => reached(page, /waiting/)));
  const lines = await computed('pair');
  for (const name of computers(lines)) assert.match(name, /^(anna|ben)$/);
  for (const line of lines) assert.match(line.response.body.synapse.checked_by.name, /^referee$/);
  await until(async () => (await figure(pages[0], 'tokens')) + (await figure(pages[1], 'tokens')) >= 48, 'counts', LIMIT_MS);
  await Promise.all(pages.map((page) => page.context().close()));
  await online(0);
});

/** Threads of this test's browsers that are web workers. @param {number} [parent] a process @returns {number} */
function workerThreads(parent = process.pid) {
  const lines = (/** @type {string} */ file) => {
    try {
      return readFileSync(file, 'utf8').trim();
    } catch {
      return ''; // it has just ended
    }
  };
  const threads = existsSync(`/proc/${parent}/task`) ? readdirSync(`/proc/${parent}/task`) : [];
  return threads.reduce((n, thread) => {
    const own = Number(lines(`/proc/${parent}/task/${thread}/comm`) === 'DedicatedWorker');
    const children = lines(`/proc/${parent}/task/${thread}/children`).split(' ').filter(Boolean);
    return n + own + children.reduce((sum, child) => sum + workerThreads(Number(child)), 0);
  }, 0);
}

test('a page computes with as many threads as it is told, and none outlive it', async () => {
  const threads = (/** @type {number} */ n) => async () => workerThreads() === n;
  const says = (/** @type {number} */ n) => n === 1 ? /One processor thread computes/ : new RegExp(`${n} processor threads compute`);
  const page = await openPage('?autostart=1&intensity=100&name=threads');
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  const most = Math.min(16, await page.evaluate(() => navigator.hardwareConcurrency));
  await reached(page, /waiting/);
  assert.match((await page.textContent('#held')) ?? '', says(most));
  await until(threads(2 + most - 1), 'volunteer, engine and its threads', LIMIT_MS);
  await computed('threads');
  const few = Math.ceil(most / 4);
  await page.check('input[name=intensity][value="25"]', { force: true });
  await until(async () => says(few).test((await page.textContent('#held')) ?? ''), 'fewer threads', LIMIT_MS);
  await until(threads(2 + few - 1), 'threads that left', LIMIT_MS);
  await page.check('input[name=intensity][value="100"]', { force: true });
  await until(threads(2 + most - 1), 'threads that came back', LIMIT_MS);
  await computed('threads again');
  await page.click('#toggle');
  await until(threads(1), 'volunteer without an engine', LIMIT_MS);
  await page.click('#toggle');
  await until(threads(2 + most - 1), 'threads of a new engine', LIMIT_MS);
  await page.context().close();
  await until(threads(0), 'end of all threads', LIMIT_MS);
  await online(0);
});

test('a page whose threads do not start computes with one, and says so', async () => {
  const context = await browser.newContext();
  await context.route('**/threads.mjs', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.text()).replace('thread_worker.mjs', 'not_there.mjs') });
  });
  const page = await context.newPage();
  await page.goto(`${grid.url}/contribute?autostart=1&intensity=100&name=alone`);
  await reached(page, /waiting/);
  const one = (await page.evaluate(() => navigator.hardwareConcurrency)) === 1;
  assert.match((await page.textContent('#held')) ?? '', /One processor thread computes/);
  if (!one) assert.match((await page.textContent('#engine')) ?? '', /as others do not start: /);
  await computed('alone');
  await context.close();
  await online(0);
});

test('finished sequences make room for new ones', async () => {
  const page = await openPage('?autostart=1&intensity=100&name=vera');
  await reached(page, /waiting/);
  const lines = 192; // the engine keeps 64 at a time
  const { id } = await grid.submit(Array.from({ length: lines }, (_, i) => ({
    custom_id: `line-${i}`, prompt: 'Once', max_tokens: 2, temperature: 0,
  })));
  await grid.finished(id);
  assert.equal((await grid.results(id)).length, lines);
  await page.context().close();
  await online(0);
});

test('nothing is downloaded before the button is pressed, which says how much', async () => {
  const page = await openPage('');
  /** @type {string[]} */
  const shards = [];
  page.on('request', (r) => void (r.url().includes('/shards/') && shards.push(r.url())));
  await page.waitForFunction(() => /** @type {any} */ (document.getElementById('toggle')).disabled === false);
  assert.equal(await page.textContent('#toggle'), 'Start and download 6.6 MB');
  assert.equal(await page.textContent('#state'), 'Stopped');
  assert.equal(shards.length, 0);
  await page.click('#toggle');
  await reached(page, /waiting/);
  await page.reload();
  await page.getByText('is on this device already').waitFor();
  assert.equal(await page.textContent('#toggle'), 'Start');
  await page.context().close();
});

test('stopping ends the volunteer at once, and starting brings it back', async () => {
  const page = await openPage('?autostart=1&intensity=100&name=stopper');
  await reached(page, /waiting/);
  await online(1);
  await page.click('#toggle');
  await reached(page, /stopped/);
  await online(0);
  assert.equal(await page.textContent('#detail'), 'This device computes nothing.');
  await page.click('#toggle');
  await reached(page, /waiting/);
  await online(1);
  await page.context().close();
  await online(0);
});

test('the page pauses while it is hidden or on battery, if told so', async () => {
  const page = await openPage('');
  await page.addInitScript(() => {
    const battery = Object.assign(new EventTarget(), { charging: true });
    const fake = { hidden: false, battery };
    Object.assign(globalThis, { fake });
    Object.defineProperty(document, 'visibilityState', { get: () => (fake.hidden ? 'hidden' : 'visible') });
    Object.defineProperty(navigator, 'getBattery', { value: async () => battery });
    localStorage.setItem('synapse.settings', JSON.stringify({ onlyVisible: true, onlyMains: true, intensity: 100 }));
  });
  await page.goto(`${grid.url}/contribute?autostart=1`);
  await reached(page, /waiting/);
  for (const [what, why] of [['hidden', /while this page is not visible/], ['battery', /until this device is on mains/]]) {
    await page.evaluate(set, { what, on: true });
    await reached(page, /stopped/);
    assert.match((await page.textContent('#detail')) ?? '', /** @type {RegExp} */ (why));
    assert.equal(await page.textContent('#toggle'), 'Stop', 'it is still wanted');
    await online(0);
    await page.evaluate(set, { what, on: false });
    await reached(page, /waiting/);
  }
  await page.context().close();
  await online(0);

  /** @param {any} change */
  function set({ what, on }) {
    const { fake } = /** @type {any} */ (globalThis);
    if (what === 'hidden') fake.hidden = on;
    else fake.battery.charging = !on;
    (what === 'hidden' ? document : fake.battery).dispatchEvent(
      new Event(what === 'hidden' ? 'visibilitychange' : 'chargingchange'));
  }
});

test('an engine that cannot be used gives way to the plain one', async () => {
  const context = await browser.newContext();
  await context.route('**/synapse-relaxed*.wasm', (route) => route.fulfill({ status: 200, body: 'not a module' }));
  const page = await context.newPage();
  await page.goto(`${grid.url}/contribute?autostart=1&intensity=100&name=simple`);
  await reached(page, /waiting/);
  assert.match((await page.textContent('#trouble')) ?? '', /synapse-relaxed\.wasm cannot be used here/);
  assert.match((await page.textContent('#held')) ?? '', /processor threads? computes?/);
  assert.equal((await grid.ask('/v1/stats')).volunteers.find((/** @type {any} */ v) => v.name === 'simple').backend, 'wasm-simd');
  const lines = await computed('simple');
  assert.deepEqual([...computers(lines)], ['simple']);
  await context.close();
  await online(0);
});

test('a page that may use too little says what the model takes', async () => {
  const page = await openPage('');
  await page.waitForFunction(() => /** @type {any} */ (document.getElementById('toggle')).disabled === false);
  await page.fill('input[name=maxMb]', '1');
  await page.locator('input[name=maxMb]').blur();
  assert.equal(await page.inputValue('input[name=maxMb]'), '16', 'the least that may be allowed');
  await page.fill('input[name=name]', '<b>bold</b>');
  await page.locator('input[name=name]').blur();
  await page.reload();
  assert.equal(await page.inputValue('input[name=name]'), '<b>bold</b>', 'settings last');
  await page.context().close();
});

test('after a browser restart with the shard route off the page still computes', async () => {
  const profile = mkdtempSync(path.join(tmpdir(), 'synapse-profile-'));
  const options = {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: [...CHROMIUM_ARGS, '--no-proxy-server'],
  };
  const url = `${grid.url}/contribute?autostart=1&intensity=100&name=keeper`;
  try {
    const first = await chromium.launchPersistentContext(profile, options);
    const page = watch(await first.newPage());
    await page.goto(url);
    await reached(page, /waiting/);
    const names = await page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('synapse-shards');
      /** @type {string[]} */
      const all = [];
      for await (const name of /** @type {any} */ (folder).keys()) all.push(name);
      return all;
    });
    assert.ok(names.some((name) => names.includes(`${name}.pieces`)), `a shard and the hashes of its pieces: ${names}`);
    await page.reload();
    await reached(page, /waiting/);
    await first.close();

    const second = await chromium.launchPersistentContext(profile, options);
    let asked = 0;
    second.on('request', (r) => void (asked += Number(r.url().includes('/shards/'))));
    await second.route('**/shards/**', (route) => route.abort());
    const again = watch(await second.newPage());
    await again.goto(url);
    await reached(again, /waiting/);
    const lines = await computed('cache');
    assert.deepEqual([...computers(lines)], ['keeper']);
    assert.equal(asked, 0, 'shards asked for');
    await second.close();
  } finally {
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
  await online(0);
});

test('a download that was broken off goes on where it stopped', async () => {
  const [model] = (await grid.ask('/v1/models')).data;
  const [shard] = (await grid.ask(`/v1/models/${model.synapse.model_id}/manifest.json`)).shards;
  const page = await openPage('');
  const url = `/v1/models/${model.synapse.model_id}/shards/${shard.file}`;
  await page.evaluate(async ({ url, name }) => {
    const start = await (await fetch(url, { headers: { range: 'bytes=0-1999999' } })).blob();
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('synapse-shards', { create: true });
    const file = await (await folder.getFileHandle(name, { create: true })).createWritable();
    await file.write(start);
    await file.close();
  }, { url, name: `${shard.sha256}.part` });
  const asked = page.context().waitForEvent('request', (r) => r.url().endsWith(url));
  await page.goto(`${grid.url}/contribute?autostart=1`);
  assert.equal((await asked).headers().range, 'bytes=2000000-');
  await reached(page, /waiting/);
  assert.match((await page.textContent('#down')) ?? '', /^4\.6 MB$/);
  await page.context().close();
  await online(0);
});

test('without a secure context the page says what is missing, and computes', async () => {
  const base = grid.url.replace('127.0.0.1', INSECURE_HOST);
  const page = await openPage('?autostart=1&intensity=100&name=plain', { base });
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await reached(page, /waiting/);
  assert.match((await page.textContent('#features')) ?? '', /not secure \(https\)[^]*One computes/);
  assert.match((await page.textContent('#held')) ?? '', /One processor thread computes/);
  const lines = await computed('insecure');
  assert.deepEqual([...computers(lines)], ['plain']);
  await page.context().close();
  await online(0);
});

test('a second tab of the same browser stands by and takes over', async () => {
  const first = await openPage('?autostart=1&intensity=100&name=tabs');
  await reached(first, /waiting/);
  const second = watch(await first.context().newPage());
  await second.goto(`${grid.url}/contribute?autostart=1&intensity=100&name=tabs`);
  await reached(second, /standby/);
  await online(1);
  await first.close();
  await reached(second, /waiting/);
  await second.context().close();
  await online(0);
});

test('the page comes back by itself after the server was killed', async () => {
  const page = await openPage('?autostart=1&intensity=100&name=patient');
  await reached(page, /waiting/);
  kill(grid.server?.pid, 'SIGKILL');
  await reached(page, /retrying/);
  assert.match((await page.textContent('#detail')) ?? '', /Trying again in \d+ s/);
  await grid.startServer();
  await computed('killed');
  await page.context().close();
  await online(0);
});

test('names that people typed stay text on every page', async () => {
  const name = '<img src=x onerror=alert(1)>';
  const page = await openPage(`?autostart=1&intensity=100&name=${encodeURIComponent(name)}`);
  await reached(page, /waiting/);
  await computed('names');
  const other = watch(await page.context().newPage());
  await other.goto(grid.url);
  await other.getByText(name).first().waitFor();
  await other.goto(`${grid.url}/leaderboard`);
  await other.getByText(name).first().waitFor();
  assert.equal(await other.locator('table img').count(), 0);
  await other.getByText('you', { exact: true }).waitFor(); // its own row is marked
  await page.context().close();
  await online(0);
});

test('no page is wider than a phone, and each says so in a title and a heading', async () => {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    const context = await browser.newContext({ viewport: { width: 360, height: 740 }, colorScheme });
    const page = watch(await context.newPage());
    for (const route of ['/', '/contribute', '/leaderboard']) {
      await page.goto(grid.url + route, { waitUntil: 'networkidle' });
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360, route);
      assert.equal(await page.locator('h1').count(), 1, route);
      assert.match(await page.title(), /Synapse/);
      const unnamed = await page.locator('button, a, input').evaluateAll((all) =>
        all.filter((e) => !(e.textContent?.trim() || e.getAttribute('aria-label') || e.closest('label'))).length);
      assert.equal(unnamed, 0, `${route}: everything that can be pressed has a name`);
    }
    await context.close();
  }
});

test('no page broke its security policy or threw', () => {
  assert.deepEqual(complaints, []);
});
