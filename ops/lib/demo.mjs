// demo.mjs - the main job on one machine: a server, three headless browsers,
// a batch of 20 prompts, a verified callback. Called by ops/demo after the
// build. Everything it starts ends with it; its files lie in a folder of its
// own that is removed at the end.
// @ts-check

import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { openVolunteers } from './browsers.mjs';
import { startReceiver } from './receiver.mjs';
import { portIsFree, run, startServer } from './server.mjs';

const ROOT = path.resolve(import.meta.dirname, '../..');
const BIN = path.join(ROOT, 'build/release/bin');
const MODEL = path.join(ROOT, 'ops/models/tales-gpt2');
const MODELS = path.join(ROOT, 'build/models');
const PORT = 8080;
const VOLUNTEERS = ['Ada', 'Grace', 'Edsger'];
const LIMIT_MS = 120_000; // the batch takes seconds; past this something is wrong

const once = process.argv.includes('--once');
const prompts = /** @type {string[]} */ (
  JSON.parse(readFileSync(path.join(import.meta.dirname, 'prompts.json'), 'utf8'))
);

/** @param {string} text */
const say = (text) => console.log(`demo: ${text}`);
/** @param {number} ms @returns {Promise<void>} */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @type {(() => unknown)[]} what to end, last started first */
const endings = [];
let ending = false;

/** @param {number} code */
async function end(code) {
  if (ending) return;
  ending = true;
  for (const stop of endings.reverse()) {
    try {
      await stop();
    } catch (error) {
      console.error(`demo: ${error}`);
    }
  }
  process.exit(code);
}

/** A request of a client of the grid.
 * @param {string} url @param {string} key @param {any} [body] */
async function ask(url, key, body) {
  const response = await fetch(url, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`);
  return text;
}

/** Show how far a batch is until it has ended.
 * @param {string} url @param {string} key */
async function watch(url, key) {
  const shown = { text: '', why: '' };
  for (const start = Date.now(); Date.now() - start < LIMIT_MS; await sleep(250)) {
    const batch = JSON.parse(await ask(url, key));
    const { total, completed, failed } = batch.request_counts;
    const text = `${completed} of ${total} lines confirmed${failed ? `, ${failed} failed` : ''}`;
    if (process.stdout.isTTY) {
      const done = Math.round((30 * completed) / Math.max(total, prompts.length));
      process.stdout.write(`\rdemo: [${'#'.repeat(done)}${'.'.repeat(30 - done)}] ${text}  `);
    } else if (text !== shown.text) {
      say(text);
    }
    shown.text = text;
    shown.why = batch.synapse?.waiting_because ?? '';
    if (['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) {
      if (process.stdout.isTTY) process.stdout.write('\n');
      return batch;
    }
  }
  throw new Error(`the batch did not end within ${LIMIT_MS / 1000} s: ${shown.why || 'it is still computed'}`);
}

/** Wait until so many browsers have joined.
 * @param {string} url @param {number} n */
async function joined(url, n) {
  for (const start = Date.now(); Date.now() - start < LIMIT_MS; await sleep(100)) {
    const { online } = JSON.parse(await (await fetch(`${url}/v1/stats`)).text());
    if (online >= n) return;
  }
  throw new Error(`not all of the ${n} browsers joined within ${LIMIT_MS / 1000} s`);
}

/** The next callback, or an error when none comes.
 * @param {Awaited<ReturnType<typeof startReceiver>>} receiver */
async function callback(receiver) {
  const late = sleep(30_000).then(() => {
    throw new Error('no callback came within 30 s');
  });
  return Promise.race([receiver.next(), late]);
}

/** @param {string} url */
async function printLeaderboard(url) {
  const board = JSON.parse(await (await fetch(`${url}/v1/leaderboard`)).text());
  say('leaderboard');
  for (const row of board.data) {
    console.log(
      `  ${String(row.rank).padStart(2)}. ${(row.name || row.account).padEnd(12)} ` +
        `${String(row.credit).padStart(14)} credit ${String(row.units).padStart(5)} units ` +
        `${String(row.disagreements).padStart(3)} disagreements`,
    );
  }
}

async function main() {
  const folder = mkdtempSync(path.join(tmpdir(), 'synapse-demo-'));
  endings.push(() => rmSync(folder, { recursive: true, force: true }));
  const logFile = path.join(ROOT, 'build/demo.log');
  const log = createWriteStream(logFile);

  say('splitting the demo model');
  mkdirSync(MODELS, { recursive: true });
  await run(`${BIN}/synapse`, ['split', MODEL, path.join(MODELS, path.basename(MODEL))]);

  const port = (await portIsFree(PORT)) ? PORT : 0;
  if (port === 0) say(`port ${PORT} is taken, another one is used`);
  const data = path.join(folder, 'data');
  const server = await startServer(
    BIN,
    ['--data', data, '--models', MODELS, '--listen', `127.0.0.1:${port}`, '--allow-private-callbacks'],
    log,
  );
  endings.push(() => server.stop());
  server.ended.then(() => {
    if (!ending) {
      console.error(`demo: synapsed ended; its log is ${logFile}`);
      end(1);
    }
  });
  say(`the grid is at ${server.url}; compute with a browser of your own at ${server.url}/contribute`);

  const key = (await run(`${BIN}/synapse`, ['keys', 'create', '--data', data, '--name', 'demo']))
    .trim()
    .split('\n')
    .at(-1);
  if (!key) throw new Error('synapse keys create printed no key');

  const receiver = await startReceiver();
  endings.push(() => receiver.close());
  say('opening three headless browsers');
  const browser = await openVolunteers(server.url, VOLUNTEERS);
  endings.push(() => browser.close());
  await joined(server.url, VOLUNTEERS.length);

  say(`submitting ${prompts.length} prompts`);
  const created = JSON.parse(
    await ask(`${server.url}/v1/batches`, key, {
      model: path.basename(MODEL),
      callback_url: receiver.url,
      requests: prompts.map((prompt, i) => ({
        custom_id: `tale-${String(i + 1).padStart(2, '0')}`,
        prompt,
        max_tokens: 48,
        temperature: 0.8,
        top_p: 0.95,
        seed: i + 1,
      })),
    }),
  );
  receiver.trust(created.callback_secret);
  const url = `${server.url}/v1/batches/${created.id}`;
  await watch(url, key);

  const lines = (await ask(`${url}/results`, key))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .sort((a, b) => a.custom_id.localeCompare(b.custom_id));
  let good = 0;
  for (const line of lines) {
    const body = line.response?.body;
    const prompt = prompts[Number(line.custom_id.slice(5)) - 1];
    if (!body) {
      console.log(`\n  ${line.custom_id}: ${JSON.stringify(line.error)}`);
      continue;
    }
    const { confirmed, computed_by } = body.synapse;
    console.log(`\n  ${line.custom_id}  computed by ${computed_by.map((/** @type {any} */ v) => v.name).join(', ')}` +
      `, checked by ${body.synapse.checked_by ? body.synapse.checked_by.name || 'the referee' : 'later checks'}`);
    console.log(`  ${prompt}${body.choices[0].text}`.replaceAll('\n', '\n  '));
    const inBrowser = computed_by.every((/** @type {any} */ v) => /^(wasm|webgpu)/.test(v.backend));
    if (confirmed && inBrowser && computed_by.length > 0) good++;
  }
  console.log();

  const event = await callback(receiver);
  const verified = event.type === 'batch.completed' && event.data.id === created.id;
  say(`callback ${event.id}: ${event.type}, signature verified`);
  await printLeaderboard(server.url);

  if (!once) {
    say(`${good} of ${prompts.length} lines confirmed, callback ${verified ? 'verified' : 'wrong'}`);
    say(`the grid stays up at ${server.url} until Ctrl-C`);
    return;
  }
  const code = good === prompts.length && verified ? 0 : 1;
  process.on('exit', () => say(`${good} of ${prompts.length} lines confirmed, callback ${verified ? 'verified' : 'wrong'}`));
  await end(code);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(130));
main().catch((error) => {
  console.error(`demo: ${error instanceof Error ? error.message : error}`);
  end(1);
});
