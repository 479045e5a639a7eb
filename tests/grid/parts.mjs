// parts.mjs - units and results of parts of a model, and a chain of volunteers
// that computes a text span by span, as a test drives it.
// volunteer/base/syn1.h is the specification.
// @ts-check

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { Volunteer, until } from './grid.mjs';
import { KIND, seal } from './frames.mjs';
import { ScriptedServer } from './scripted_server.mjs';

export const FLAGS = { tokens: 1, rows: 2, printsOnly: 4 };
export const STATUS = { ok: 0, kvMissing: 1, noRoom: 2 };
const HEADER_LEN = 76;
const NO_WORK = 1, NOT_CACHED = 2;

/**
 * @typedef {object} PartSeq
 * @property {bigint} id
 * @property {number} [epoch]
 * @property {number} first
 * @property {number} [kvValid]    first, if left out
 * @property {number[]} [tokens]   for a span that begins with the first shard
 * @property {Buffer[]} [rows]     for the others
 * @property {number} [predict]
 * @property {number} [maxNew]
 *
 * @typedef {object} PartUnit
 * @property {string} model        hex
 * @property {string} [unit]       hex of 16 bytes
 * @property {number} first
 * @property {number} end
 * @property {boolean} [printsOnly]
 * @property {PartSeq[]} seqs
 *
 * @typedef {object} PartAnswer
 * @property {bigint} id
 * @property {number} epoch
 * @property {number} first
 * @property {number} status
 * @property {Buffer[]} rows
 * @property {number[]} tokens
 * @property {string[]} prints     hex
 */

/** @param {PartUnit} unit */
export function partUnit({ model, unit = randomBytes(16).toString('hex'), first, end, printsOnly, seqs }) {
  const byRows = Boolean(seqs[0].rows);
  const dim = byRows ? rowDim(seqs[0].rows?.[0]?.length ?? 0) : 0;
  const parts = seqs.map((seq) => {
    const head = Buffer.alloc(72);
    const n = (seq.rows ?? seq.tokens ?? []).length;
    head.writeBigUInt64LE(seq.id, 0);
    head.writeUInt32LE(seq.epoch ?? 0, 8);
    head.writeUInt32LE(seq.first, 12);
    head.writeUInt32LE(n, 16);
    head.writeUInt32LE(seq.kvValid ?? seq.first, 20);
    head.writeUInt32LE(seq.predict ?? 0, 24);
    head.writeUInt32LE(seq.maxNew ?? 0, 28);
    head.writeUInt32LE(seq.first + n, 32);
    head.writeUInt32LE(65536, 40);
    const ids = Buffer.alloc(byRows ? 0 : 4 * n);
    if (!byRows) seq.tokens?.forEach((token, i) => ids.writeUInt32LE(token, 4 * i));
    return Buffer.concat([head, ids, ...(seq.rows ?? [])]);
  });
  const flags = (byRows ? FLAGS.rows : FLAGS.tokens) | (printsOnly ? FLAGS.printsOnly : 0);
  return seal({ kind: KIND.unit, flags, model, spanFirst: first, spanEnd: end, nSeqs: seqs.length, unit, dim }, Buffer.concat(parts));
}

/** Elements of a row of so many bytes. @param {number} len */
function rowDim(len) {
  const dim = Math.floor((len * 32) / 33);
  return dim + Math.ceil(dim / 32) === len ? dim : dim + 1;
}

/** What a result frame answers. @param {Buffer} frame @returns {PartAnswer[]} */
export function partAnswers(frame) {
  const dim = frame.readUInt32LE(52), rowLen = dim + Math.ceil(dim / 32);
  const answers = [];
  for (let at = HEADER_LEN, i = frame.readUInt16LE(28); i > 0; i--) {
    const [nRows, nTokens, nPrints] = [16, 20, 24].map((o) => frame.readUInt32LE(at + o));
    const base = at + 32, tokensAt = base + nRows * rowLen, printsAt = tokensAt + 4 * nTokens;
    answers.push({
      id: frame.readBigUInt64LE(at),
      epoch: frame.readUInt32LE(at + 8),
      first: frame.readUInt32LE(at + 12),
      status: frame[at + 28],
      rows: Array.from({ length: nRows }, (_, r) => frame.subarray(base + r * rowLen, base + (r + 1) * rowLen)),
      tokens: Array.from({ length: nTokens }, (_, t) => frame.readUInt32LE(tokensAt + 4 * t)),
      prints: Array.from({ length: nPrints }, (_, p) => frame.subarray(printsAt + 16 * p, printsAt + 16 * p + 16).toString('hex')),
    });
    at = printsAt + 16 * nPrints;
  }
  return answers;
}

/** A server for one volunteer, which asks it for spans and hands it units. */
export class PartHost {
  /** @param {ScriptedServer} server */
  constructor(server) {
    this.server = server;
    /** @type {{first: number, end: number} | null} the span it is to fetch */
    this.wanted = null;
    /** @type {{frame: Buffer, id: string, done: (result: Buffer) => void}[]} not given yet */
    this.queue = [];
    /** @type {Map<string, (result: Buffer) => void>} by unit id */
    this.given = new Map();
    this.maxHeld = 0; // units in its hand at a time
    server.onCall = (call, response) => this.onCall(call, response);
  }

  /** @param {string} modelFolder */
  static async start(modelFolder) {
    return new PartHost(await ScriptedServer.start(modelFolder));
  }

  get modelId() {
    return this.server.modelId;
  }

  /** @param {import('./scripted_server.mjs').Call} call @param {import('node:http').ServerResponse} response
   * @returns {ReturnType<import('./scripted_server.mjs').OnCall>} */
  onCall(call, response) {
    let outcome = 0;
    if (call.result) {
      const id = call.result.subarray(32, 48).toString('hex');
      this.given.get(id)?.(Buffer.from(call.result));
      this.given.delete(id);
      outcome = 1;
    }
    this.maxHeld = Math.max(this.maxHeld, call.held.length);
    return this.next(call, response, outcome);
  }

  /** @param {import('./scripted_server.mjs').Call} call @param {import('node:http').ServerResponse} response
   * @param {number} outcome @returns {ReturnType<import('./scripted_server.mjs').OnCall>} */
  next(call, response, outcome) {
    const unit = this.queue.shift();
    if (unit) {
      this.given.set(unit.id, unit.done);
      return { unit: unit.frame, outcome };
    }
    if (this.lacks(call)) return { reason: NOT_CACHED, retryMs: 20, outcome, model: this.modelId, span: this.wanted ?? undefined };
    if (call.waitMs === 0) return { reason: NO_WORK, retryMs: 20, outcome };
    const end = Date.now() + call.waitMs;
    const poll = setInterval(() => {
      if (!this.queue.length && !this.lacks(call) && Date.now() < end) return;
      clearInterval(poll);
      this.server.answer(call, response, this.next({ ...call, waitMs: 0 }, response, outcome));
    }, 2);
    response.on('close', () => clearInterval(poll));
    return null;
  }

  /** Whether the call does not list the span that is wanted. @param {import('./scripted_server.mjs').Call} call */
  lacks(call) {
    const wanted = this.wanted;
    return wanted !== null && !call.models.some((m) => m.first === wanted.first && m.end === wanted.end);
  }

  /** Wait until the volunteer lists the span. @param {number} first @param {number} end */
  async hold(first, end) {
    this.wanted = { first, end };
    await until(() => this.server.calls.at(-1)?.models.some((m) => m.first === first && m.end === end),
      `span ${first}..${end}`, 60_000);
  }

  /** The result frame of a unit. @param {Omit<PartUnit, 'model'>} unit @returns {Promise<PartAnswer[]>} */
  async compute(unit) {
    const id = randomBytes(16).toString('hex');
    const frame = partUnit({ ...unit, model: this.modelId, unit: id });
    return partAnswers(await new Promise((done) => this.queue.push({ frame, id, done })));
  }

  async stop() {
    await this.server.stop();
  }
}

/** What the manifest says. @param {string} modelFolder */
export function shardsOf(modelFolder) {
  return JSON.parse(readFileSync(path.join(modelFolder, 'manifest.json'), 'utf8')).shards;
}

/** A native volunteer for a host.
 * @param {PartHost} host @param {string} folder scratch @param {string} name @param {string[]} [args] */
export function nativeFor(host, folder, name, args = []) {
  return new Volunteer(name,
    ['volunteer', host.server.url, '--name', name, '--account-file', path.join(folder, `${name}.account`),
      '--cache', path.join(folder, `cache-${name}`), '--threads', '1', ...args],
    path.join(folder, `${name}.log`));
}

/** Hosts in a row, each with one span of a model. */
export class Chain {
  /** @param {PartHost[]} hosts @param {{first: number, end: number}[]} spans */
  constructor(hosts, spans) {
    this.hosts = hosts;
    this.spans = spans;
    /** @type {{end: number, position: number, hex: string}[]} rows that crossed boundaries */
    this.crossed = [];
  }

  /** Rows (or, at first, tokens) through all spans; gives the last answers.
   * @param {PartSeq[]} seqs with tokens @param {number} [maxNew] of the last span */
  async step(seqs, maxNew = 1) {
    let now = seqs;
    /** @type {PartAnswer[]} */
    let answers = [];
    for (let i = 0; i < this.spans.length; i++) {
      const last = i === this.spans.length - 1;
      answers = await this.hosts[i].compute({ ...this.spans[i], seqs: now.map((s) => ({ ...s, maxNew: last ? maxNew : 0 })) });
      for (const a of answers) if (a.status !== STATUS.ok) throw new Error(`span ${i}: status ${a.status}`);
      if (last) break;
      now = now.map((s, n) => ({ ...s, tokens: undefined, rows: answers[n].rows }));
      for (const s of now)
        s.rows?.forEach((row, r) =>
          this.crossed.push({ end: this.spans[i].end, position: s.first + r, hex: row.toString('hex') }));
    }
    return answers;
  }

  /** Greedy tokens behind a prompt. @param {bigint} id @param {number[]} prompt @param {number} n @param {number} [end] token */
  async generate(id, prompt, n, end = 0) {
    const tokens = [];
    for (let first = 0, rows = prompt; tokens.length < n; ) {
      const [answer] = await this.step([{ id, first, tokens: rows }]);
      first += rows.length;
      rows = answer.tokens;
      tokens.push(...answer.tokens);
      if (answer.tokens[0] === end) break;
    }
    return tokens;
  }
}
