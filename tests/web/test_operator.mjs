// test_operator.mjs - the operator's page in a real Chromium: who gets in, and
// that queue, volunteers, plan, lies, checks, batches and keys are there.
// @ts-check

import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';

import { launchChromium } from '../../ops/lib/browsers.mjs';
import { Grid, synapseOk, until } from '../grid/grid.mjs';

const LIAR = '<img src=x onerror=alert(1)>';
const EXPECTED = /status of 40[13]/; // what Chromium says of a refused key

/** @type {Grid} */
let grid;
/** @type {import('playwright-core').Browser} */
let browser;
let operator = '';
/** @type {any} */
let batch;
/** @type {string[]} what pages complained of */
const complaints = [];

/** @param {string[]} args */
async function keyOf(...args) {
  return (await synapseOk(['keys', 'create', '--data', grid.data, ...args])).out.trim().split('\n').at(-1) ?? '';
}

before(async () => {
  grid = await Grid.start();
  browser = await launchChromium(['--no-proxy-server']);
  operator = await keyOf('--name', 'the operator', '--scopes', 'operate,read', '--tokens', '5000');
  grid.liar('Mallory', 'token', ['--sequences', '4', '--name', LIAR]);
  batch = await grid.submit(Array.from({ length: 12 }, (_, i) => ({ custom_id: `l-${i}`, prompt: 'The wolf', max_tokens: 8, seed: i })));
  await until(async () => (await grid.ask('/v1/stats')).disagreements > 0, 'lie that was found');
});

after(async () => {
  await browser?.close();
  assert.deepEqual(await grid?.stop(), []);
});

/** @param {import('playwright-core').BrowserContextOptions} [options] */
async function openPage(options) {
  const page = await (await browser.newContext(options)).newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (m) => void (m.type() === 'error' && !EXPECTED.test(m.text()) && complaints.push(m.text())));
  await page.goto(`${grid.url}/operator`);
  return page;
}

/** @param {import('playwright-core').Page} page @param {string} key */
async function enter(page, key) {
  await page.getByLabel('API key with the scope operate').fill(key);
  await page.getByRole('button', { name: 'Show the grid' }).click();
}

test('who has no key with the scope operate sees nothing, and is told why', async () => {
  const page = await openPage();
  await page.getByLabel('API key with the scope operate').waitFor();
  assert.equal(await page.locator('#all').isVisible(), false);
  for (const [key, why] of [['sk-syn-wrong', 'This key is not valid here.'], [grid.key, 'This key lacks the scope operate.']]) {
    await enter(page, key);
    await page.getByText(why).waitFor();
    assert.equal(await page.locator('#all').isVisible(), false);
    assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'it is not kept');
  }
  for (const [key, status] of [['', 401], ['sk-syn-wrong', 401], [grid.key, 403]])
    assert.equal((await fetch(`${grid.url}/v1/overview`, { headers: key ? { authorization: `Bearer ${key}` } : {} })).status, status);
  await page.context().close();
});

test('the operator sees queue, volunteers, plan, lies, checks, batches and keys', async () => {
  const page = await openPage();
  await enter(page, operator);
  const row = (/** @type {string} */ table, /** @type {string} */ text) => page.locator(`#${table} tr`, { hasText: text }).first();
  await row('batches', batch.id).waitFor();
  assert.match((await row('batches', batch.id).textContent()) ?? '', /of test, .*in progress/);
  assert.equal(await row('batches', batch.id).locator('progress').getAttribute('max'), '12');
  assert.match((await row('keys', 'the operator').textContent()) ?? '', /read, operate.*0 of 5,000/);
  assert.match((await row('plan', 'tales-gpt2').textContent()) ?? '', /whole/);
  await row('volunteers', 'referee').waitFor();
  await row('lies', LIAR).waitFor();
  assert.equal(await page.locator('table img').count(), 0, 'names stay text');
  const figure = async (/** @type {string} */ id) => Number(await page.textContent(`#${id}`));
  assert.ok((await figure('disagreements')) >= 1);
  assert.ok((await figure('checks')) >= 1);
  assert.equal(await figure('referees'), 1);
  const { queued, running, checking } = (await grid.ask('/v1/stats'));
  for (const id of ['queued', 'running', 'checking', 'failed', 'callbacks', 'bans', 'rollbacks'])
    assert.ok((await figure(id)) >= 0, `${id} is a number`);
  assert.ok(queued + running + checking > 0, 'the batch is under way');
  // What changes comes by itself, and the key outlives a reload, but not the button.
  await page.reload();
  await row('batches', batch.id).waitFor();
  await grid.ask(`/v1/batches/${batch.id}/cancel`, {});
  await page.getByText('Nothing is under way.').waitFor();
  await page.getByRole('button', { name: 'Forget the key' }).click();
  assert.equal(await page.locator('#all').isVisible(), false);
  await page.reload();
  await page.getByLabel('API key with the scope operate').waitFor();
  await page.context().close();
});

test('it is no wider than a phone, and everything in it has a name', async () => {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    const page = await openPage({ viewport: { width: 360, height: 740 }, colorScheme });
    for (const inside of [false, true]) {
      if (inside) {
        await enter(page, operator);
        await page.locator('#keys tr').first().waitFor();
      }
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
      assert.equal(await page.locator('h1').count(), 1);
      const unnamed = await page.locator('button, a, input').evaluateAll((all) =>
        all.filter((e) => !(e.textContent?.trim() || e.closest('label')?.textContent?.trim())).length);
      assert.equal(unnamed, 0);
    }
    await page.context().close();
  }
  assert.deepEqual(complaints, []);
});
