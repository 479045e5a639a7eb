// churn.mjs - a batch over spans while volunteers are killed, frozen or close
// their page and others join, and what became of its lines: which are wrong, how
// long a sequence stood still after a loss, and how much was computed again.
// @ts-check

import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { connectTo, launchChromiumServer } from '../../ops/lib/browsers.mjs';
import { Grid, ROOT, answerOf, kill, sleep, splitModel, synapseOk } from './grid.mjs';
import { Redis } from './redis.mjs';

const SOURCE = 'ops/models/tales-gpt2', SHARDS = 6, PATH = '2,4', SPANS = ['0-2', '2-4', '4-6'];
const PAGE_MB = 16;
const LOOK_MS = 40; // between two looks at how sequences get on
const AFTER_MS = 5000; // so long a standstill is put down to the loss before it

/**
 * @typedef {object} Options
 * @property {number} lines
 * @property {number} tokens      most a line
 * @property {number} natives
 * @property {number} pages
 * @property {number} everyMs     between two losses
 * @property {(pages: boolean) => Loss | null} next  what to lose, pages if there are any; null: nothing now
 * @property {number} [losses]    at most
 * @property {number} [delayMs]   that native volunteers take longer for a unit
 *
 * @typedef {{page: boolean, how: 'killed'|'frozen'|'closed', which: number}} Loss
 *   which: 0 .. 1, of those of its kind; only a page's tab is closed
 *
 * @typedef {object} Outcome
 * @property {string[]} faults    what is wrong with the lines
 * @property {Record<string, number>} lost  how often what was done
 * @property {number} seconds
 * @property {number} stall       s, the longest of one sequence since the loss that hit it
 * @property {number} pause       s, the longest between two tokens of a sequence
 * @property {number} rows        of generated tokens, counted at each span
 * @property {number} again       of these, lost and computed again
 * @property {number} rebuilt     rows computed for their KV
 */

/** A random generator that a seed repeats (mulberry32). @param {number} seed */
export function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Losses at random, of so many volunteers. @param {() => number} random @param {number} natives @param {number} pages
 * @returns {(pages: boolean) => Loss} */
export function anyLoss(random, natives, pages) {
  return (any) => {
    const page = random() < pages / (natives + pages) && any;
    const ways = /** @type {Loss['how'][]} */ (page ? ['killed', 'frozen', 'closed'] : ['killed', 'frozen']);
    return { page, how: ways[Math.floor(random() * ways.length)], which: random() };
  };
}

/** All processes that come from this one. @param {number} pid @returns {number[]} */
function family(pid) {
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))?.[1]) === pid ? [Number(name)] : [];
    } catch {
      return []; // it has ended
    }
  });
  return [pid, ...children.flatMap(family)];
}

/** A page in a browser of its own. */
class Page {
  /** @param {string} name @param {import('playwright-core').BrowserServer} server @param {import('playwright-core').Page} tab */
  constructor(name, server, tab) {
    this.name = name;
    this.server = server;
    this.tab = tab;
  }

  /** @param {string} url @param {string} name */
  static async open(url, name) {
    const server = await launchChromiumServer(['--no-proxy-server']);
    const context = await (await connectTo(server)).newContext();
    await context.addInitScript((maxMb) => localStorage.setItem('synapse.settings', JSON.stringify({ maxMb, intensity: 100 })), PAGE_MB);
    const tab = await context.newPage();
    await tab.goto(`${url}/contribute?autostart=1&name=${name}`);
    return new Page(name, server, tab);
  }

  /** @param {Loss['how']} how */
  async lose(how) {
    const pid = /** @type {number} */ (this.server.process().pid);
    if (how === 'closed') await this.tab.close();
    else for (const one of family(pid)) kill(one, how === 'killed' ? 'SIGKILL' : 'SIGSTOP');
  }

  async end() {
    await this.server.kill();
  }
}

/** A native volunteer, to be lost in the same way. */
class Native {
  /** @param {Grid} grid @param {string} name @param {number} memory @param {number} delayMs */
  constructor(grid, name, memory, delayMs) {
    this.name = name;
    this.volunteer = grid.volunteer(name,
      ['--memory', String(memory), '--threads', '1', '--delay-ms', String(delayMs), '--quiet']);
  }

  /** @param {Loss['how']} how */
  async lose(how) {
    kill(this.volunteer.child.pid, how === 'killed' ? 'SIGKILL' : 'SIGSTOP');
  }

  async end() {
    kill(this.volunteer.child.pid, 'SIGKILL'); // a frozen one cannot leave
  }
}

// Sequences of a batch that are on their way over spans: id, tokens so far, and
// the names of those that have its stages.
const LOOK = `
local P, list, names = 'syn:{0}:', {}, {}
for _, sid in ipairs(redis.call('SMEMBERS', P .. 'b:' .. ARGV[1] .. ':s')) do
  if redis.call('HGET', P .. 's:' .. sid, 'st') == 'g' then
    local G, owners = redis.call('HGETALL', P .. 's:' .. sid .. ':g'), {}
    for i = 1, #G, 2 do
      local id = G[i]:match('^o%d+$') and G[i + 1] or ''
      if id ~= '' then
        names[id] = names[id] or redis.call('HGET', P .. 'v:' .. id, 'name') or ''
        table.insert(owners, names[id])
      end
    end
    table.insert(list, {sid, redis.call('HSTRLEN', P .. 's:' .. sid, 'o') / 4, owners})
  end
end
return cjson.encode(list)`;

/** How the sequences of a batch get on. */
class Watch {
  /** @param {Redis} redis @param {string} batch */
  constructor(redis, batch) {
    this.redis = redis;
    this.batch = batch;
    /** @type {Map<string, {tokens: number, since: number, hit: number, owners: string[]}>} */
    this.open = new Map();
    this.stall = 0; // ms
    this.pause = 0;
  }

  async look() {
    const now = performance.now();
    const text = String(await this.redis.call('EVAL', LOOK, 0, this.batch));
    /** @type {[string, number, string[]][]} */
    const list = text === '{}' ? [] : JSON.parse(text);
    const there = new Set(list.map(([sid]) => sid));
    for (const sid of [...this.open.keys()].filter((sid) => !there.has(sid))) {
      this.moved(sid, now);
      this.open.delete(sid);
    }
    for (const [sid, tokens, owners] of list) {
      const was = this.open.get(sid);
      if (was && was.tokens !== tokens) this.moved(sid, now);
      const names = Array.isArray(owners) ? owners : []; // an empty list is {} there
      if (was) Object.assign(was, { tokens, owners: names });
      else this.open.set(sid, { tokens, since: now, hit: -Infinity, owners: names });
    }
  }

  /** It stood still until now. @param {string} sid @param {number} now */
  moved(sid, now) {
    const one = /** @type {NonNullable<ReturnType<typeof this.open.get>>} */ (this.open.get(sid));
    this.pause = Math.max(this.pause, now - one.since);
    if (one.hit > now - AFTER_MS || one.hit > one.since) this.stall = Math.max(this.stall, now - Math.max(one.since, one.hit));
    one.since = now;
  }

  /** This volunteer is lost, now. @param {string} name */
  lost(name) {
    for (const one of this.open.values()) if (one.owners.includes(name)) one.hit = performance.now();
  }

  /** @param {AbortSignal} signal */
  async run(signal) {
    for (; !signal.aborted; await sleep(LOOK_MS)) await this.look();
  }
}

/** @param {string} model @param {import('./grid.mjs').Request} request */
async function truth(model, request) {
  const args = ['run', model, '--json', '--prompt', request.prompt, '--max-tokens', String(request.max_tokens),
    '--temperature', String(request.temperature)];
  if (request.top_p) args.push('--top-p', String(request.top_p), '--seed', String(request.seed));
  const { text, tokens, finish_reason } = JSON.parse((await synapseOk(args)).out);
  return { text, tokens, finish_reason };
}

/** As much as no whole model and its KV fit in, but several sequences of a third. @param {string} model folder */
function memoryOf(model) {
  const { shards } = JSON.parse(readFileSync(path.join(model, 'manifest.json'), 'utf8'));
  return shards.reduce((/** @type {number} */ sum, /** @type {any} */ s) => sum + s.bytes, 0);
}

/** Have the model cut into three. Returns what gives a volunteer one of these,
 * by its name. @param {Grid} grid */
async function pin(grid) {
  const made = await synapseOk(['keys', 'create', '--data', grid.data, '--name', 'operator', '--scopes', 'operate']);
  const key = made.out.trim().split('\n').at(-1) ?? '';
  const plan = (/** @type {string[]} */ ...args) =>
    synapseOk(['plan', grid.url, '--model', path.basename(SOURCE), '--key', key, ...args]);
  await plan('--path', PATH);
  return (/** @type {string} */ name, /** @type {number} */ n) => plan('--volunteer', name, '--span', SPANS[n % SPANS.length]);
}

/** @param {Pick<Options, 'lines'|'tokens'>} options @returns {import('./grid.mjs').Request[]} */
function requestsOf({ lines, tokens }) {
  const golden = JSON.parse(readFileSync(path.join(ROOT, SOURCE, 'golden.json'), 'utf8'));
  return Array.from({ length: lines }, (_, i) => ({
    custom_id: `line-${i}`, prompt: golden.greedy[i % golden.greedy.length].prompt, max_tokens: tokens,
    ...(i % 2 ? { temperature: 0.9, top_p: 0.9, seed: i } : { temperature: 0 }),
  }));
}

/** What is wrong, in words. @param {import('./grid.mjs').Request[]} requests @param {any[]} lines @param {string} model */
async function faultsOf(requests, lines, model) {
  const faults = [], greedy = new Map();
  for (const request of requests) {
    const got = lines.filter((line) => line.custom_id === request.custom_id);
    if (got.length !== 1) faults.push(`${request.custom_id} came ${got.length} times`);
    const key = request.temperature === 0 ? request.prompt : request.custom_id;
    if (!greedy.has(key)) greedy.set(key, JSON.stringify(await truth(model, request)));
    for (const line of got)
      if (JSON.stringify(answerOf(line)) !== greedy.get(key))
        faults.push(`${request.custom_id} is ${JSON.stringify(answerOf(line))}, not ${greedy.get(key)}`);
  }
  if (lines.length > requests.length) faults.push(`${lines.length} lines came`);
  return faults;
}

/** @param {Grid} grid @param {string} name of a counter */
async function metric(grid, name) {
  const text = await (await fetch(`${grid.url}/metrics`)).text();
  return Number(new RegExp(`^synapse_${name} (\\S+)`, 'm').exec(text)?.[1]);
}

/** Lose volunteers and enlist others until the batch is over.
 * @param {Grid} grid @param {Options} options @param {Watch} watch @param {(Native | Page)[]} living
 * @param {(like: Native | Page) => Promise<Native | Page>} enlist @param {() => boolean} over */
async function lose(grid, options, watch, living, enlist, over) {
  /** @type {Record<string, number>} */
  const done = {};
  /** @type {Promise<void>[]} */
  const joining = [];
  for (let n = 0, next = 0; n < (options.losses ?? Infinity); ) {
    next ||= performance.now() + options.everyMs;
    while (performance.now() < next && !over()) await sleep(20);
    if (over()) break;
    const loss = options.next(living.some((one) => one instanceof Page));
    if (!loss) {
      await sleep(100);
      continue;
    }
    n++;
    next = 0;
    const { page, how, which } = loss;
    const kind = living.filter((one) => one instanceof Page === page);
    const one = kind[Math.floor(which * kind.length)];
    living.splice(living.indexOf(one), 1);
    await watch.look();
    watch.lost(one.name);
    await one.lose(how);
    const what = `${one instanceof Page ? 'page' : 'native'} ${how}`;
    done[what] = (done[what] ?? 0) + 1;
    // It takes a browser a while to start: meanwhile the losses go on.
    joining.push(enlist(one).then((fresh) => void living.push(fresh), () => {}));
  }
  await Promise.all(joining);
  return done;
}

/** @param {Options} options @returns {Promise<Outcome>} */
export async function churn(options) {
  const folder = mkdtempSync(path.join(tmpdir(), 'synapse-churn-'));
  const model = path.join(folder, path.basename(SOURCE));
  cpSync(await splitModel(SOURCE, SHARDS), model, { recursive: true });
  const grid = await Grid.start({ args: ['--models', folder] });
  const give = await pin(grid);
  const memory = memoryOf(model), requests = requestsOf(options);
  const redis = await Redis.open(path.join(grid.data, 'redis.sock'));
  /** @type {(Native | Page)[]} */
  const living = [];
  /** @type {(Native | Page)[]} */
  const all = [];
  let joined = 0;
  const native = async () => new Native(grid, `native${joined++}`, memory, options.delayMs ?? 0);
  const page = async () => { // 16 MB, the least that it can be told, may do for all
    const n = joined++;
    await give(`page${n}`, n);
    return Page.open(grid.url, `page${n}`);
  };
  const enlist = async (/** @type {() => Promise<Native | Page>} */ make) => {
    const fresh = await make();
    all.push(fresh);
    return fresh;
  };
  const control = new AbortController();
  try {
    for (let i = 0; i < options.pages; i++) living.push(await enlist(page));
    for (let i = 0; i < options.natives; i++) living.push(await enlist(native));
    const start = performance.now();
    const { id } = await grid.submit(requests);
    const watch = new Watch(redis, id);
    const watching = watch.run(control.signal);
    let over = false;
    const ended = grid.finished(id, 150_000).finally(() => { over = true; });
    const lost = await lose(grid, options, watch, living, (like) => enlist(like instanceof Page ? page : native), () => over);
    const batch = await ended;
    const seconds = (performance.now() - start) / 1000;
    control.abort();
    await watching;
    const faults = batch.status === 'completed' ? await faultsOf(requests, await grid.results(id), model) : [`the batch is ${batch.status}`];
    return {
      faults, lost, seconds, stall: watch.stall / 1000, pause: watch.pause / 1000,
      rows: await metric(grid, 'span_rows_total'), again: await metric(grid, 'span_rows_lost_total'),
      rebuilt: await metric(grid, 'span_rows_rebuilt_total'),
    };
  } finally {
    control.abort();
    redis.close();
    await Promise.all(all.map((one) => one.end()));
    await grid.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
