// grid.mjs - a whole grid for a test: synapsed with its Redis, native
// volunteers and a client, in a temporary folder and on a free port. It ends
// only processes that it started, by their ids, and can kill and restart each.
// @ts-check

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

export const ROOT = path.resolve(import.meta.dirname, '../..');
/** The build whose programs are tested. */
export const BUILD = path.resolve(ROOT, process.env.SYNAPSE_BUILD ?? 'build/dev');
const BIN = path.join(BUILD, 'bin');
const MODEL_SOURCE = path.join(ROOT, 'ops/models/tales-gpt2');
const LIMIT_MS = 120_000;

// The build may have sanitizers, and nothing here goes through a proxy.
const ENV = { ...process.env, no_proxy: '*', NO_PROXY: '*' };

// A test that is ended from outside still ends what it started.
/** @type {NodeJS.Signals[]} */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const onSignal = () => process.exit(130);

/** @param {number} ms @returns {Promise<void>} */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Try again until it gives something, or the time is up.
 * @template T @param {() => Promise<T> | T} look @param {string} what @param {number} [limitMs]
 * @returns {Promise<NonNullable<T>>} */
export async function until(look, what, limitMs = LIMIT_MS) {
  for (const end = Date.now() + limitMs; ; await sleep(50)) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`after ${limitMs / 1000} s still no ${what}`);
  }
}

/** @param {number | undefined} pid */
function isAlive(pid) {
  if (!pid) return false;
  try {
    process.kill(pid, 0);
    // A zombie is as dead as can be told from outside.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** @param {number | undefined} pid @param {NodeJS.Signals} signal */
export function kill(pid, signal) {
  if (isAlive(pid)) process.kill(/** @type {number} */ (pid), signal);
}

/** Run a verb of `synapse` to its end.
 * @param {string[]} args @param {{env?: Record<string, string>}} [options]
 * @returns {Promise<{code: number | null, out: string, err: string}>} */
export async function synapse(args, options = {}) {
  const child = spawn(path.join(BIN, 'synapse'), args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...ENV, ...options.env },
  });
  let out = '', err = '';
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  const [code] = await once(child, 'close');
  return { code, out, err };
}

/** As synapse(), but anything other than success is an error.
 * @param {string[]} args @param {{env?: Record<string, string>}} [options] */
export async function synapseOk(args, options) {
  const ended = await synapse(args, options);
  if (ended.code !== 0) throw new Error(`synapse ${args.join(' ')} ended with ${ended.code}: ${ended.err}`);
  return ended;
}

/** The folder with the demo model's folder, split once a build.
 * @returns {Promise<string>} */
export async function models() {
  const folder = path.join(BUILD, 'grid-models');
  const model = path.join(folder, 'tales-gpt2');
  if (!existsSync(path.join(model, 'manifest.json'))) {
    mkdirSync(folder, { recursive: true });
    await synapseOk(['split', MODEL_SOURCE, model]);
  }
  return folder;
}

/** The folder with a test model split into so many shards, made once a build.
 * @param {string} source folder @param {number} nShards @returns {Promise<string>} the model's folder */
export async function splitModel(source, nShards) {
  const model = path.join(BUILD, 'grid-spans', `${path.basename(source)}-${nShards}`);
  if (!existsSync(path.join(model, 'manifest.json'))) {
    mkdirSync(path.dirname(model), { recursive: true });
    await synapseOk(['split', path.join(ROOT, source), model, '--shards', String(nShards)]);
  }
  return model;
}

/** One command of Redis's protocol, answered as raw text.
 * @param {string} socket @param {string} command @returns {Promise<string>} */
async function redisAsk(socket, command) {
  const stream = connect(socket);
  stream.setTimeout(2000, () => stream.destroy(new Error('Redis does not answer')));
  let text = '';
  stream.on('data', (data) => {
    text += data;
    if (text.endsWith('\r\n')) stream.end();
  });
  stream.write(`${command}\r\n`);
  await once(stream, 'close');
  return text;
}

/**
 * @typedef {object} Request
 * @property {string} custom_id
 * @property {string} prompt
 * @property {number} [max_tokens]
 * @property {number} [temperature]
 * @property {number} [top_p]
 * @property {number} [seed]
 * @property {string | string[]} [stop]
 */

/** What `synapse run` makes of a request: the truth for every line.
 * @param {Request} request @returns {Promise<{text: string, tokens: number[], finish_reason: string}>} */
export async function runLocal(request) {
  const args = ['run', path.join(await models(), 'tales-gpt2'), '--json', '--prompt', request.prompt];
  args.push('--max-tokens', String(request.max_tokens ?? 16));
  args.push('--temperature', String(request.temperature ?? 1));
  if (request.top_p !== undefined) args.push('--top-p', String(request.top_p));
  if (request.seed !== undefined) args.push('--seed', String(request.seed));
  return JSON.parse((await synapseOk(args)).out);
}

/** A started native volunteer. */
export class Volunteer {
  /** @param {string} name @param {string[]} args @param {string} log
   * @param {string} [program] */
  constructor(name, args, log, program = path.join(BIN, 'synapse')) {
    this.name = name;
    const out = openSync(log, 'a');
    this.child = spawn(program, args, { stdio: ['ignore', out, out], env: ENV });
    this.ended = once(this.child, 'exit');
    this.log = log;
  }

  /** @param {NodeJS.Signals} [signal] */
  async stop(signal = 'SIGTERM') {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    await this.ended;
    return this.child.exitCode;
  }
}

export class Grid {
  /** @param {string} folder @param {string} modelsFolder @param {string[]} serverArgs */
  constructor(folder, modelsFolder, serverArgs) {
    this.folder = folder;
    this.data = path.join(folder, 'data');
    this.models = modelsFolder;
    this.serverArgs = serverArgs;
    this.port = 0;
    this.url = '';
    this.key = '';
    /** @type {import('node:child_process').ChildProcess | undefined} */
    this.server = undefined;
    this.refereePid = 0;
    this.redisPid = 0;
    /** @type {Set<number>} every process that must not outlive the grid */
    this.pids = new Set();
    /** @type {Volunteer[]} */
    this.volunteers = [];
    this.onExit = () => {
      for (const pid of this.pids) kill(pid, 'SIGKILL');
      rmSync(this.folder, { recursive: true, force: true });
    };
    process.on('exit', this.onExit);
    for (const signal of SIGNALS) process.on(signal, onSignal);
  }

  /** Start synapsed with its Redis and make an API key.
   * @param {{args?: string[]}} [options] */
  static async start(options = {}) {
    const folder = mkdtempSync(path.join(tmpdir(), 'synapse-grid-'));
    const grid = new Grid(folder, await models(), options.args ?? []);
    try {
      await grid.startServer();
      const made = await until(async () => {
        const ended = await synapse(['keys', 'create', '--data', grid.data, '--name', 'test']);
        return ended.code === 0 ? ended.out : null;
      }, 'API key', 30_000);
      grid.key = made.trim().split('\n').at(-1) ?? '';
      return grid;
    } catch (error) {
      await grid.stop();
      throw error;
    }
  }

  get serverLog() {
    return path.join(this.folder, 'synapsed.log');
  }

  /** Start synapsed, on the same port as before. */
  async startServer() {
    const log = openSync(this.serverLog, 'a');
    /** @type {import('node:child_process').StdioOptions} */
    const stdio = ['ignore', 'pipe', log];
    const args = ['--data', this.data, '--models', this.models, '--listen', `127.0.0.1:${this.port}`,
      '--allow-private-callbacks', ...this.serverArgs];
    const child = spawn(path.join(BIN, 'synapsed'), args, { stdio, env: ENV });
    this.server = child;
    if (child.pid) this.pids.add(child.pid);
    if (!child.stdout) throw new Error('synapsed has no standard output');
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /listening on (\S+)/.exec(line)?.[1];
      if (!url) continue;
      child.stdout.resume();
      this.url = url.replace(/\/$/, '');
      this.port = Number(new URL(url).port);
      await this.findRedis();
      return;
    }
    throw new Error(`synapsed ended before it listened: ${readFileSync(this.serverLog, 'utf8').slice(-2000)}`);
  }

  /** Learn the process id of the Redis that serves now. */
  async findRedis() {
    if (this.serverArgs.includes('--redis')) return 0;
    this.redisPid = await until(async () => {
      const info = await redisAsk(path.join(this.data, 'redis.sock'), 'INFO server').catch(() => '');
      return Number(/process_id:(\d+)/.exec(info)?.[1] ?? 0);
    }, 'answer of Redis', 30_000);
    this.pids.add(this.redisPid);
    return this.redisPid;
  }

  /** The process id of the referee that serves now, from the server's log; 0 if there is none. */
  findReferee() {
    const starts = [...readFileSync(this.serverLog, 'utf8').matchAll(/referee_started pid=(\d+)/g)];
    const pid = Number(starts.at(-1)?.[1] ?? 0);
    if (!isAlive(pid)) return 0;
    this.pids.add(pid);
    return pid;
  }

  /** @param {string} name @param {string[]} [args] more arguments
   * @returns {Volunteer} */
  volunteer(name, args = []) {
    return this.#volunteer(name, ['volunteer', this.url], args);
  }

  /** A volunteer that cheats, or only calls from an address of its own.
   * @param {string} name @param {string} plan as tests/adversary/cheat.h says
   * @param {string[]} [args] more arguments; `--from ADDRESS` is one
   * @returns {Volunteer} */
  liar(name, plan, args = []) {
    return this.#volunteer(name, [this.url, '--models', this.models, '--cheat', plan], args,
      path.join(BUILD, 'tests/adversary/liar'));
  }

  /** Wait until so many volunteers, the referee aside, hold all of the model and ask for work.
   * @param {number} n */
  async ready(n) {
    const holders = async () => (await this.ask('/v1/plan')).models[0].spans[0].held_by.length;
    await until(async () => (await holders()) >= n, `${n} volunteers with the model`);
  }

  /** @param {string} name @param {string[]} head @param {string[]} args override what is usual
   * @param {string} [program] */
  #volunteer(name, head, args, program) {
    const volunteer = new Volunteer(
      name,
      [...head, '--name', name, '--account-file', path.join(this.folder, `${name}.account`),
        '--cache', path.join(this.folder, `cache-${name}`), '--memory', '1G', ...args],
      path.join(this.folder, `${name}.log`),
      program,
    );
    this.volunteers.push(volunteer);
    if (volunteer.child.pid) this.pids.add(volunteer.child.pid);
    return volunteer;
  }

  /** Ask the server, as the client with the API key.
   * @param {string} route @param {any} [body]
   * @returns {Promise<any>} */
  async ask(route, body) {
    const response = await fetch(this.url + route, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${route} answered ${response.status}: ${text}`);
    return response.headers.get('content-type')?.includes('jsonl')
      ? text.split('\n').filter(Boolean).map((line) => JSON.parse(line))
      : JSON.parse(text);
  }

  /** @param {Request[]} requests @param {object} [more] @returns {Promise<any>} the batch */
  async submit(requests, more = {}) {
    return this.ask('/v1/batches', { requests, ...more });
  }

  /** Wait until the batch is over, through restarts of the server.
   * @param {string} id @param {number} [limitMs] @returns {Promise<any>} the batch */
  async finished(id, limitMs = LIMIT_MS) {
    return until(async () => {
      const batch = await this.ask(`/v1/batches/${id}`).catch(() => null);
      return batch && ['completed', 'failed', 'cancelled'].includes(batch.status) ? batch : null;
    }, `end of ${id}`, limitMs);
  }

  /** The first thousand result lines. @param {string} id @returns {Promise<any[]>} */
  async results(id) {
    return this.ask(`/v1/batches/${id}/results?after=0&limit=1000`);
  }

  /** Submit, wait, and give the lines by custom_id; each must come once.
   * @param {Request[]} requests @returns {Promise<Map<string, any>>} */
  async compute(requests) {
    const { id } = await this.submit(requests);
    await this.finished(id);
    const lines = await this.results(id);
    const byId = new Map(lines.map((line) => [line.custom_id, line]));
    if (lines.length !== requests.length || byId.size !== requests.length)
      throw new Error(`${requests.length} requests gave ${lines.length} lines, ${byId.size} different ones`);
    return byId;
  }

  /** End everything and remove the folder. */
  async stop() {
    await Promise.all(this.volunteers.map((volunteer) => volunteer.stop()));
    const server = this.server;
    if (server && server.exitCode === null && server.signalCode === null) {
      kill(server.pid, 'SIGTERM');
      const late = setTimeout(() => kill(server.pid, 'SIGKILL'), 15_000);
      await once(server, 'exit');
      clearTimeout(late);
    }
    const left = [...this.pids].filter(isAlive);
    for (const pid of left) kill(pid, 'SIGKILL'); // e.g. the Redis of a killed server
    process.off('exit', this.onExit);
    for (const signal of SIGNALS) process.off(signal, onSignal);
    if (process.env.SYNAPSE_KEEP) console.error(`kept ${this.folder}`);
    else rmSync(this.folder, { recursive: true, force: true });
    return left;
  }
}

/** The text, tokens and end of a result line, as runLocal gives them.
 * @param {any} line */
export function answerOf(line) {
  const body = line?.response?.body;
  if (!body) return { error: line?.error ?? 'no line' };
  return {
    text: body.choices[0].text,
    tokens: body.synapse.tokens,
    finish_reason: body.choices[0].finish_reason,
  };
}
