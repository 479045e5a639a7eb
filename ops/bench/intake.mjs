// intake.mjs - a large batch file comes in while volunteers call for work:
// server time until it is accepted, memory of synapsed and Redis while it is
// read in, how long work calls take meanwhile, and how long another key's ten
// lines are delayed by it. Called by ops/bench/intake after the build. The two
// volunteers that compute yield the processors to the server: elsewhere they
// have their own.
//
//   node intake.mjs [lines [megabytes]]
// @ts-check

import { createReadStream, createWriteStream, readFileSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { constants, setPriority } from 'node:os';
import path from 'node:path';
import { once } from 'node:events';

import { Grid, sleep, synapseOk, until } from '../../tests/grid/grid.mjs';
import { RawVolunteer } from '../../tests/grid/raw_volunteer.mjs';

const LINES = Number(process.argv[2] ?? 50_000);
const BYTES = Number(process.argv[3] ?? 100) * 1e6;
const CALLERS = 4, CALL_EVERY_MS = 25, TICKS = 100;
const WORDS = 'once upon a time there was a small fox who lived near the river and had many friends '.split(' ');

/** Resident bytes of a process. @param {number} pid */
const rss = (pid) => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;

/** Seconds of processor time a process has used. @param {number} pid */
function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** @param {number[]} values @param {number} part */
const quantile = (values, part) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? NaN;

/** @param {string} name @param {number} ours @param {number} limit */
function row(name, ours, limit) {
  console.log([name, ours.toFixed(2), limit, (ours / limit).toFixed(3), `<= ${limit}`, ours <= limit ? 'ok' : 'short'].join('\t'));
}

/** Write the file. @param {string} file */
async function makeFile(file) {
  const out = createWriteStream(file), each = Math.floor(BYTES / LINES);
  for (let i = 0; i < LINES; i++) {
    let prompt = '';
    for (let n = i; prompt.length < Math.min(each - 250, 1400); n = (n * 31 + 7) % 1000003) prompt += `${WORDS[n % WORDS.length]} `;
    const line = JSON.stringify({
      custom_id: `line-${i}`, method: 'POST', url: '/v1/completions',
      body: { model: 'tales-gpt2', prompt, max_tokens: 8, temperature: 0 },
    });
    if (!out.write(`${line.padEnd(each - 1)}\n`)) await once(out, 'drain');
  }
  out.end();
  await once(out, 'finish');
}

/** Upload it as a form, streamed. @param {Grid} grid @param {string} file */
async function upload(grid, file) {
  const mark = 'intake-boundary';
  const head = `--${mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--${mark}\r\n` +
    'Content-Disposition: form-data; name="file"; filename="large.jsonl"\r\nContent-Type: application/jsonl\r\n\r\n';
  const tail = `\r\n--${mark}--\r\n`;
  const post = request(`${grid.url}/v1/files`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${grid.key}`, 'content-type': `multipart/form-data; boundary=${mark}`,
      'content-length': head.length + statSync(file).size + tail.length,
    },
  });
  const answered = once(post, 'response');
  post.write(head);
  for await (const part of createReadStream(file)) if (!post.write(part)) await once(post, 'drain');
  post.end(tail);
  const [response] = await answered;
  let text = '';
  for await (const part of response) text += part;
  if (response.statusCode !== 200) throw new Error(`the upload was answered ${response.statusCode}: ${text}`);
  return JSON.parse(text);
}

/** A volunteer that calls and calls, computes nothing, and times the answers. It gives back what
 * it gets by not listing it. @param {Grid} grid @param {number[]} times @param {{stop: boolean}} flag */
async function caller(grid, times, flag, n = 0) {
  const raw = await RawVolunteer.join(grid.url, `caller-${n}`);
  for (let number = 1; !flag.stop; number++) {
    const start = performance.now();
    const { status } = await raw.call(number);
    if (status !== 200) throw new Error(`a work call was answered ${status}`);
    times.push(performance.now() - start);
    await sleep(CALL_EVERY_MS);
  }
  await raw.leave();
}

/** How long ten lines of another key take. @param {Grid} grid @param {string} key */
async function ten(grid, key) {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const requests = Array.from({ length: 10 }, (_, i) => ({ custom_id: `t${i}`, prompt: 'Once upon a time', max_tokens: 16, temperature: 0 }));
  const start = performance.now();
  const { id } = await (await fetch(`${grid.url}/v1/batches`, { method: 'POST', headers, body: JSON.stringify({ requests }) })).json();
  await until(async () => (await (await fetch(`${grid.url}/v1/batches/${id}`, { headers })).json()).status === 'completed', 'ten lines', 600_000);
  return (performance.now() - start) / 1000;
}

const grid = await Grid.start();
try {
  const file = path.join(grid.folder, 'large.jsonl');
  await makeFile(file);
  const other = (await synapseOk(['keys', 'create', '--data', grid.data])).out.trim().split('\n').at(-1) ?? '';
  for (const name of ['Ada', 'Grace']) {
    const { child } = grid.volunteer(name);
    setPriority(child.pid ?? 0, constants.priority.PRIORITY_LOW);
  }
  const alone = [];
  for (let i = 0; i < 3; i++) alone.push(await ten(grid, other));

  const pids = [grid.server?.pid ?? 0, grid.redisPid];
  const idle = pids.map(rss), worked = cpu(pids[0]);
  let start = 0;
  const peak = [...idle], flag = { stop: false };
  /** @type {number[]} */
  const times = [];
  const watch = setInterval(() => pids.forEach((pid, i) => (peak[i] = Math.max(peak[i], rss(pid)))), 20);
  const callers = Promise.all(Array.from({ length: CALLERS }, (_, i) => caller(grid, times, flag, i)));
  await sleep(3000);
  const quiet = times.splice(0); // with nothing coming in, for comparison
  start = performance.now();
  const { id: input_file_id } = await upload(grid, file);
  const { id } = await grid.ask('/v1/batches', { input_file_id, endpoint: '/v1/completions', completion_window: '24h' });
  await until(async () => (await grid.ask(`/v1/batches/${id}`)).status !== 'validating', 'accepted batch', 300_000);
  const wall = (performance.now() - start) / 1000, accepted = cpu(pids[0]) - worked;
  await sleep(5000); // more of it is read in
  flag.stop = true;
  await callers;
  const beside = await ten(grid, other);
  clearInterval(watch);
  const batch = await grid.ask(`/v1/batches/${id}`);
  if (batch.status !== 'in_progress' || batch.request_counts.failed > 0) throw new Error(`the batch: ${JSON.stringify(batch)}`);
  const [server, redis] = peak.map((bytes, i) => (bytes - idle[i]) / 1e6);
  console.log(`${LINES} lines, ${(statSync(file).size / 1e6).toFixed(0)} MB: accepted after ${wall.toFixed(1)} s; synapsed +${server.toFixed(0)} MB, ` +
    `Redis +${redis.toFixed(0)} MB; ${times.length} work calls, median ${quantile(times, 0.5).toFixed(1)} ms (before: median ${quantile(quiet, 0.5).toFixed(1)}, p99 ${quantile(quiet, 0.99).toFixed(1)}); ten lines alone ${alone.map((s) => s.toFixed(1)).join(' ')} s, beside ${beside.toFixed(1)} s`);
  row('intake-server-s', accepted, 10);
  row('intake-memory-mb', server + redis, 200);
  row('intake-work-call-p99-ms', quantile(times, 0.99), 50);
  row('intake-delay-of-ten-s', beside - quantile(alone, 0.5), 5);
} finally {
  await grid.stop();
}
