// @ts-check
// work_loop.mjs - a joined volunteer at work. Two loops share what is in hand:
// one talks (a call brings a result and returns the next unit), one computes.
// Up to two units are in hand, so that the device does not wait for the network.

import { RejoinError } from './grid.mjs';
import { sleep } from './http.mjs';
import { reasonText } from './reasons.mjs';
import { Outcome, Reason, encodeCall, resultInfo, unitInfo } from './syn1.mjs';

const HAND_MAX = 2;
/** @type {number[]} reasons for which the server holds a call that may wait */
const HELD = [Reason.NO_WORK, Reason.TRUST];
const FAILURES_MAX = 3;
const FETCHING_MS = 250; // between calls while a span is on its way
const SOON_MS = 500; // the first call for more is made this soon at least
const MORE_MS = 2000; // between further calls for more
const STEP_MS = 2000; // that the next step of a sequence is waited for
const EWMA = 0.3; // weight of the newest measurement

/**
 * @typedef {import("./grid.mjs").Membership} Membership
 * @typedef {import("./messages.mjs").Counts} Counts
 * @typedef {import("./messages.mjs").State} State
 * @typedef {import("./effort.mjs").Effort} Effort
 * @typedef {import("./syn1.mjs").UnitInfo} UnitInfo
 * @typedef {import("./syn1.mjs").CachedSpan} CachedSpan
 *
 * @typedef {object} ModelShelf  what models.mjs gives
 * @property {() => CachedSpan[]} cached
 * @property {(span: CachedSpan, signal: AbortSignal) => Promise<boolean>} fetch  false: there is no room
 * @property {(span: CachedSpan, frame: Uint8Array) => Promise<{result: Uint8Array<ArrayBuffer>}>} run
 * @property {() => number} slots  sequences it keeps at a time
 * @property {() => number} memory what a call tells
 * @property {(span: CachedSpan) => boolean} isWhole  a whole model
 * @property {(span: CachedSpan) => boolean} inUse  set here
 *
 * @typedef {object} Hooks
 * @property {(state: State) => void} onState
 * @property {(counts: Counts) => void} onCounts
 * @property {(text: string) => void} onTrouble
 *
 * @typedef {{info: UnitInfo, frame: Uint8Array}} Unit
 * @typedef {{info: UnitInfo, frame: Uint8Array<ArrayBuffer>, tokens: number}} Finished
 */

/** Counts that begin at nothing. @returns {Counts} */
export function newCounts() {
  return { tokens: 0, checked: 0, units: 0, late: 0, bytesDown: 0, bytesUp: 0, speed: 0 };
}

export class WorkLoop {
  /**
   * @param {Membership} member
   * @param {ModelShelf} shelf
   * @param {Effort} effort   may be changed from outside at any time
   * @param {Counts} counts   go on over several memberships
   * @param {Hooks} hooks
   */
  constructor(member, shelf, effort, counts, hooks) {
    this.member = member;
    this.shelf = shelf;
    this.effort = effort;
    this.counts = counts;
    this.hooks = hooks;
    /** @type {Unit[]} the first is being computed */
    this.hand = [];
    /** @type {Finished[]} */
    this.finished = [];
    this.prefill = 0;
    this.decode = 0;
    this.failures = 0;
    this.why = 'Ready. The server answers as soon as there is something to compute.';
    this.askAt = 0; // when to ask for more while the hand is not empty
    this.rttMs = 0; // about the least that a call takes lately
    /** @type {CachedSpan[]} what the call under way lists */
    this.listed = [];
    /** @type {Promise<void>|null} a span on its way */
    this.fetching = null;
    /** @type {unknown} why it did not come */
    this.fetchError = null;
    shelf.inUse = (span) => [...this.listed, ...this.hand.map((u) => u.info)].some((s) => isSame(s, span));
    /** @type {(() => void)[]} */
    this.waiters = [];
  }

  /**
   * Work until the signal stops it or an error ends it.
   * @param {AbortSignal} signal
   */
  async run(signal) {
    const control = new AbortController();
    const stop = () => control.abort(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener('abort', stop, { once: true });
    const loops = [this.talk(control.signal), this.compute(control.signal), this.report(control.signal),
      this.member.presence(control.signal)];
    try {
      await Promise.all(loops);
    } finally {
      signal.removeEventListener('abort', stop);
      control.abort(new DOMException('this membership ended', 'AbortError'));
      await Promise.allSettled(loops);
    }
  }

  /** Wake whoever waits for the hand to change. */
  changed() {
    const waiters = this.waiters;
    this.waiters = [];
    for (const wake of waiters) wake();
  }

  /**
   * Wait until the hand changes, or for so long.
   * @param {AbortSignal} signal
   * @param {number} [limitMs]
   * @returns {Promise<void>}
   */
  change(signal, limitMs) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const stop = () => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const wake = () => {
        clearTimeout(timer);
        this.waiters = this.waiters.filter((w) => w !== wake);
        signal.removeEventListener('abort', stop);
        resolve();
      };
      const timer = limitMs === undefined || !Number.isFinite(limitMs) ? undefined : setTimeout(wake, Math.max(1, limitMs));
      signal.addEventListener('abort', stop, { once: true });
      this.waiters.push(wake);
    });
  }

  /** @param {AbortSignal} signal */
  async talk(signal) {
    for (;;) {
      while (!this.finished.length && this.hand.length && (this.hand.length >= HAND_MAX || performance.now() < this.askAt))
        await this.change(signal, this.askAt - performance.now());
      if (this.fetchError) throw this.fetchError;
      const posted = this.finished.shift() ?? null;
      const waitMs = this.waitMs(posted);
      this.listed = this.shelf.cached();
      const call = encodeCall({
        number: this.member.nextNumber(),
        held: [...this.hand, ...this.finished].map((u) => u.info.id),
        models: this.listed,
        slots: this.slots(),
        memory: this.shelf.memory(),
        prefill: this.prefill * this.duty(),
        decode: this.decode * this.duty(),
        waitMs,
        result: posted?.frame ?? null,
      });
      if (waitMs && !posted) this.hooks.onState({ name: 'waiting', detail: this.why });
      const started = performance.now();
      const answer = await this.member.call(call, waitMs, this.callHooks(), signal);
      this.learnRtt(performance.now() - started);
      this.listed = [];
      if (posted) this.count(posted, answer.outcome);
      if (answer.unit) this.take(answer.unit);
      else await this.rest(answer, waitMs, signal);
    }
  }

  /**
   * How long a call may be held: with nothing in hand until work comes. What
   * became of a result is told at once, but on a part of a model, where the
   * next step follows closely.
   * @param {Finished|null} posted
   */
  waitMs(posted) {
    if (this.hand.length || this.finished.length || this.fetching) return 0;
    if (!posted) return this.member.waitMs;
    return this.shelf.isWhole(posted.info) ? 0 : Math.min(STEP_MS, this.member.waitMs);
  }

  callHooks() {
    return {
      onRetry: (/** @type {string} */ why, /** @type {number} */ ms) => {
        const detail = `${sentence(why)} Trying again in ${Math.max(1, Math.round(ms / 1000))} s; nothing is lost.`;
        this.hooks.onState({ name: 'retrying', detail });
      },
      onDown: (/** @type {number} */ n) => { this.counts.bytesDown += n; },
      onUp: (/** @type {number} */ n) => { this.counts.bytesUp += n; },
    };
  }

  /** Share of the time that the engine may run, 0 .. 1. */
  duty() {
    return this.effort.duty;
  }

  /** Sequences there is room for beyond those of the units in hand. */
  slots() {
    const inHand = this.hand.reduce((n, u) => n + u.info.sequences, 0);
    return Math.max(0, this.shelf.slots() - inHand);
  }

  /** @param {Uint8Array} frame */
  take(frame) {
    this.hand.push({ info: unitInfo(frame), frame });
    // Not so soon that the call is still under way when a short unit's result
    // should be told.
    this.askAt = performance.now() + Math.min(SOON_MS, 2 * this.rttMs);
    this.changed();
  }

  /**
   * A call may be held, so only the short ones tell of the network: follow them
   * down at once and the others up slowly.
   * @param {number} tookMs
   */
  learnRtt(tookMs) {
    this.rttMs = Math.min(tookMs, this.rttMs * 1.06 + 1);
  }

  /**
   * Bring the span that an answer names, while work goes on.
   * @param {CachedSpan} span
   * @param {AbortSignal} signal
   */
  fetch(span, signal) {
    this.fetching ??= this.shelf.fetch(span, signal)
      .then((here) => {
        if (here) return;
        this.member.leave();
        throw new RejoinError('Part of a model does not fit; the server is told.');
      })
      .catch((error) => { this.fetchError = error; })
      .finally(() => {
        this.fetching = null;
        this.changed();
      });
  }

  /**
   * There was no unit: say why, and wait as long as the server asks for.
   * @param {import("./syn1.mjs").Answer} answer
   * @param {number} waitMs  how long the call let itself be held
   * @param {AbortSignal} signal
   */
  async rest(answer, waitMs, signal) {
    const { model, spanFirst: first, spanEnd: end } = answer.header;
    if (answer.reason === Reason.NOT_CACHED) this.fetch({ model, first, end }, signal);
    this.askAt = performance.now() + Math.max(answer.retryMs, MORE_MS);
    if (this.hand.length || this.finished.length) return;
    if (this.fetching) return this.change(signal, FETCHING_MS);
    this.why = reasonText(answer.reason);
    this.hooks.onState({ name: 'waiting', detail: this.why });
    if (waitMs === 0 && HELD.includes(answer.reason)) return; // the next call waits there
    await sleep(answer.retryMs * (0.75 + Math.random() / 2), signal);
  }

  /** @param {AbortSignal} signal */
  async compute(signal) {
    for (;;) {
      while (!this.hand.length) await this.change(signal);
      const { info, frame } = this.hand[0];
      this.hooks.onState({ name: info.check ? 'checking' : 'computing', sequences: info.sequences });
      const started = performance.now();
      const done = await this.tryRun(info, frame, signal);
      const ms = performance.now() - started;
      this.hand.shift();
      if (done) this.finished.push({ info, frame: done, tokens: this.measure(info, done, ms) });
      this.changed();
      const restMs = ms * (1 / this.duty() - 1);
      if (restMs > 1) {
        if (this.hand.length) this.hooks.onState({ name: 'resting' });
        await sleep(restMs, signal);
      }
    }
  }

  /**
   * The result, or null where the engine could not make one: then the unit is
   * no longer listed as held, and the server gives its rows to someone else.
   * @param {UnitInfo} info
   * @param {Uint8Array} frame
   * @param {AbortSignal} signal
   */
  async tryRun(info, frame, signal) {
    try {
      const { result } = await this.shelf.run(info, frame);
      this.failures = 0;
      return result;
    } catch (error) {
      signal.throwIfAborted();
      const text = error instanceof Error ? error.message : String(error);
      if (++this.failures >= FAILURES_MAX) throw new Error(`The engine failed ${FAILURES_MAX} times in a row: ${text}`);
      this.hooks.onTrouble(`One unit could not be computed (${text}). It goes to another device.`);
      return null;
    }
  }

  /**
   * Take a unit's speed down; returns the tokens it told.
   * @param {UnitInfo} info
   * @param {Uint8Array} result
   * @param {number} ms
   */
  measure(info, result, ms) {
    const { tokens } = resultInfo(result);
    const seconds = Math.max(ms, 0.1) / 1000;
    // A unit of one kind measures that kind; a mixed one is taken as decoding
    // only when most of its steps are.
    if (tokens > 0 && tokens >= info.rows && !info.check) this.decode = blend(this.decode, tokens / seconds);
    else if (info.rows > 0) this.prefill = blend(this.prefill, (info.rows + tokens) / seconds);
    if (tokens > 0) this.counts.speed = blend(this.counts.speed, tokens / seconds);
    return tokens;
  }

  /**
   * @param {Finished} posted
   * @param {number} outcome
   */
  count(posted, outcome) {
    if (outcome === Outcome.ACCEPTED) {
      this.counts.units++;
      this.counts.tokens += posted.tokens;
      if (posted.info.check) this.counts.checked += posted.tokens;
    } else {
      this.counts.late++;
    }
    this.hooks.onCounts(this.counts);
  }

  /**
   * Tell the server that what is in hand is being worked on.
   * @param {AbortSignal} signal
   */
  async report(signal) {
    for (;;) {
      await sleep(this.member.progressMs, signal);
      const units = [...this.hand, ...this.finished].map((u) => u.info.id);
      if (units.length) await this.member.progress(units, this.counts.tokens, signal);
      this.hooks.onCounts(this.counts);
    }
  }
}

/**
 * @param {number} old  0: nothing measured yet
 * @param {number} now
 */
function blend(old, now) {
  return old ? old + EWMA * (now - old) : now;
}

/**
 * @param {CachedSpan} a
 * @param {CachedSpan} b
 */
function isSame(a, b) {
  return a.model === b.model && a.first === b.first && a.end === b.end;
}

/** @param {string} text */
function sentence(text) {
  const t = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(t) ? t : `${t}.`;
}
