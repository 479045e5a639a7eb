// @ts-check
// models.mjs - the spans of models that this device has or can have: brings
// their shards into the store, each span into an engine of its own, and keeps
// what all engines may take within what the person allows.

import { EngineError } from './engine_remote.mjs';
import { shardUrl } from './grid.mjs';
import { sleep } from './http.mjs';
import { fetchShard } from './shard_fetch.mjs';
import { MemoryStore } from './shard_store.mjs';

const ID16 = 32; // hex digits of the model ids in frames
const LEAVE_MS = 20; // between looks at whether a span is still in use

/**
 * @typedef {import("./grid.mjs").ModelInfo} ModelInfo
 * @typedef {import("./messages.mjs").HeldLayers} HeldLayers
 * @typedef {import("./messages.mjs").State} State
 * @typedef {import("./messages.mjs").Tuning} Tuning
 * @typedef {import("./shard_fetch.mjs").Hasher} Hasher
 * @typedef {import("./shard_store.mjs").ShardStore} ShardStore
 * @typedef {import("./engine_remote.mjs").RemoteEngine} RemoteEngine
 * @typedef {import("./syn1.mjs").CachedSpan} CachedSpan
 *
 * @typedef {object} Parts
 * @property {string} base
 * @property {ShardStore} store
 * @property {() => Hasher} newHasher
 * @property {() => Promise<RemoteEngine>} newEngine  a fresh one, open
 * @property {Tuning} tuning
 * @property {(state: State) => void} onState
 * @property {(bytes: number) => void} onBytes
 * @property {(text: string) => void} onTrouble
 * @property {(spans: HeldLayers[], bytes: number, threads: number) => void} onHeld
 *
 * @typedef {object} Loaded    a span in an engine
 * @property {ModelInfo} model
 * @property {number} first
 * @property {number} end
 * @property {RemoteEngine} engine
 * @property {number} slots    sequences that it keeps at a time
 * @property {number} shards   bytes of its shards
 * @property {number} bound    bytes that it may take in all
 * @property {number} bytes    that it has taken
 * @property {number} threads  that compute it; 0: a GPU does
 * @property {number} used     turn in which it was used last
 * @property {boolean} leaving no more units are wanted for it
 */

/** A model is larger than the person allows. */
export class TooLargeError extends Error {}

export class Models {
  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    /** @type {ModelInfo[]} */
    this.all = [];
    /** @type {Loaded[]} in the order they were loaded */
    this.loaded = [];
    this.turn = 0;
    /** @type {number|null} threads that engines are to compute with, if that changed */
    this.wanted = null;
    this.toldMax = Infinity; // lowered by spans that did not fit
    /** @type {(span: CachedSpan) => boolean} whether a unit of it is in hand or may come */
    this.inUse = () => false;
  }

  /**
   * Get the first model that fits ready, so that work finds the device prepared.
   * Where none does, the server will name a part of one.
   * @param {ModelInfo[]} all  what the server offers, its preference first
   * @param {AbortSignal} signal
   */
  async prepare(all, signal) {
    const max = this.parts.tuning.maxBytes;
    this.all = all;
    if (all.length === 0) throw new TooLargeError('The server offers no model at the moment.');
    if (this.loaded.length) return;
    const fits = all.find((m) => m.bytes <= max);
    if (fits) return this.load(fits, 0, fits.shards.length, signal);
    const least = Math.min(...all.flatMap((m) => m.shards.map((s) => s.bytes)));
    if (least > max)
      throw new TooLargeError(
        `The smallest part of a model takes ${megabytes(least)}, and you allow ${megabytes(max)}. Allow more to take part.`,
      );
  }

  /** What a call lists: spans that are in engines and stay there. @returns {CachedSpan[]} */
  cached() {
    return this.loaded.filter((l) => !l.leaving).map((l) => ({ model: l.model.id.slice(0, ID16), first: l.first, end: l.end }));
  }

  /** What a call tells as memory: with the bytes of the listed shards, the bound. */
  memory() {
    const shards = this.loaded.reduce((n, l) => n + (l.leaving ? 0 : l.shards), 0);
    return Math.max(0, this.bound() - shards);
  }

  /** The bound as it is told, when joining too. */
  bound() {
    return Math.min(this.parts.tuning.maxBytes, this.toldMax);
  }

  /** Sequences that an engine keeps at a time; idle ones make way by themselves. */
  slots() {
    return this.loaded.reduce((n, l) => Math.max(n, l.slots), 0);
  }

  /** Bytes of memory that all engines have taken. */
  bytes() {
    return this.loaded.reduce((n, l) => n + l.bytes, 0);
  }

  /** Threads that compute; 0: a GPU does, or nothing is loaded. */
  threads() {
    return this.loaded.reduce((n, l) => Math.max(n, l.threads), 0);
  }

  /**
   * Let engines compute with so many threads, each from its next unit on.
   * @param {number} threads
   */
  async useThreads(threads) {
    this.wanted = threads;
    await Promise.all(this.loaded.map(async (loaded) => {
      loaded.threads = await loaded.engine.useThreads(threads);
    }));
    this.tellHeld();
  }

  /** @param {CachedSpan} span */
  isWhole(span) {
    return span.end - span.first === this.find(span.model).shards.length;
  }

  /** @param {string} model16 */
  find(model16) {
    const model = this.all.find((m) => m.id.startsWith(model16));
    if (!model) throw new Error('the server asks for a model that it did not offer');
    return model;
  }

  /**
   * @param {ModelInfo} model
   * @param {number} first
   * @param {number} end
   */
  findLoaded(model, first, end) {
    return this.loaded.find((l) => l.model.id === model.id && l.first === first && l.end === end);
  }

  /**
   * Get a span ready. One that does not fit is told, and so is less memory: the
   * server plans with what it was told when this volunteer joined.
   * @param {CachedSpan} span   as an answer names it
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>} whether it is here
   */
  async fetch(span, signal) {
    const model = this.find(span.model);
    if (span.first >= span.end || span.end > model.shards.length) throw new Error('the server asks for shards that there are not');
    await this.load(model, span.first, span.end, signal);
    return this.findLoaded(model, span.first, span.end) !== undefined;
  }

  /**
   * @param {CachedSpan} span   of the unit
   * @param {Uint8Array} frame
   */
  async run(span, frame) {
    const loaded = this.findLoaded(this.find(span.model), span.first, span.end);
    if (!loaded) throw new Error('the unit is for a part of a model that is not here');
    loaded.used = ++this.turn;
    try {
      const ran = await loaded.engine.run(frame);
      if (ran.bytes !== loaded.bytes) {
        loaded.bytes = ran.bytes;
        this.tellHeld();
      }
      return ran;
    } catch (error) {
      // Whatever went wrong in there, a fresh engine does not carry it along.
      this.remove(loaded, 'the engine is started anew');
      throw error;
    }
  }

  /**
   * Shards from the store or the network into a fresh engine.
   * @param {ModelInfo} model
   * @param {number} first
   * @param {number} end
   * @param {AbortSignal} signal
   */
  async load(model, first, end, signal) {
    const there = this.findLoaded(model, first, end);
    if (there && !there.leaving) return;
    const shards = model.shards.slice(first, end).reduce((n, s) => n + s.bytes, 0);
    if (shards > this.parts.tuning.maxBytes) return this.refuse(model, first, end, shards);
    const blobs = await this.collect(model, first, end, signal);
    this.parts.onState({ name: 'loading', model: model.name });
    for (let share = 0.5; ; ) {
      // Others may come: with room for all, half of what is left stays free.
      const left = this.parts.tuning.maxBytes - this.loaded.reduce((n, l) => n + l.bound, 0);
      const bound = shards + Math.max(0, left - shards) * share;
      const error = bound <= left ? await this.tryLoad({ model, first, end, shards, bound }, blobs, signal) : new EngineError('', null, true);
      if (!error) return;
      if (!error.noRoom) throw error;
      if (share < 1 && bound <= left) share = 1;
      else if (!(await this.makeWay(signal))) return this.refuse(model, first, end, shards);
    }
  }

  /**
   * @param {Pick<Loaded, "model"|"first"|"end"|"shards"|"bound">} span
   * @param {import("./messages.mjs").ShardBlob[]} blobs  in order; what is damaged is fetched again
   * @param {AbortSignal} signal
   * @returns {Promise<EngineError|null>}
   */
  async tryLoad(span, blobs, signal) {
    const { model, first, end, bound } = span;
    for (let again = false; ; again = true) {
      const engine = await this.parts.newEngine();
      try {
        signal.throwIfAborted();
        const { slots, bytes, threads, noted } = await engine.load(model.id, blobs, bound);
        signal.throwIfAborted();
        const loaded = { ...span, engine, slots, bytes, threads, used: ++this.turn, leaving: false };
        if (this.wanted !== null) loaded.threads = await engine.useThreads(this.wanted);
        signal.throwIfAborted();
        this.loaded.push(loaded);
        this.tellHeld();
        for (const [sha256, pieces] of noted) await this.parts.store.notePieces(sha256, pieces).catch(() => {}); // it only saves time
        return null;
      } catch (error) {
        engine.end('it could not load the model');
        signal.throwIfAborted();
        if (!(error instanceof EngineError)) throw error;
        if (!error.shard || again) return error;
        await this.parts.store.remove(error.shard); // storage went bad: fetch it again
        blobs.splice(0, blobs.length, ...(await this.collect(model, first, end, signal)));
      }
    }
  }

  /**
   * End the span that was not used for longest, once nothing of it is in hand.
   * False: there is none.
   * @param {AbortSignal} signal
   */
  async makeWay(signal) {
    if (this.loaded.length === 0) return false;
    const oldest = this.loaded.reduce((a, b) => (a.used <= b.used ? a : b));
    const span = { model: oldest.model.id.slice(0, ID16), first: oldest.first, end: oldest.end };
    oldest.leaving = true; // no call lists it from now on
    while (this.inUse(span)) await sleep(LEAVE_MS, signal);
    this.remove(oldest, 'another part of a model is loaded');
    return true;
  }

  /**
   * A span does not fit: say so, and tell the server of less memory.
   * @param {ModelInfo} model
   * @param {number} first
   * @param {number} end
   * @param {number} shards  bytes
   */
  refuse(model, first, end, shards) {
    this.toldMax = Math.min(this.toldMax, shards - 1);
    const what = end - first === model.shards.length ? model.name : `Shards ${first + 1} to ${end} of ${model.name}`;
    this.parts.onTrouble(
      `${what}: ${megabytes(shards)} and room to compute are more than the ${megabytes(this.parts.tuning.maxBytes)} that you allow.`,
    );
  }

  /**
   * @param {ModelInfo} model
   * @param {number} first
   * @param {number} end
   * @param {AbortSignal} signal
   */
  async collect(model, first, end, signal) {
    const wanted = model.shards.slice(first, end);
    const total = wanted.reduce((n, s) => n + s.bytes, 0);
    await this.makeRoom(wanted, total);
    const shards = [];
    let before = 0;
    for (const shard of wanted) {
      const hooks = {
        newHasher: this.parts.newHasher,
        onBytes: this.parts.onBytes,
        onHave: (/** @type {number} */ have) =>
          this.parts.onState({ name: 'downloading', model: model.name, done: before + have, total }),
      };
      const from = { url: shardUrl(this.parts.base, model, shard), sha256: shard.sha256, bytes: shard.bytes };
      shards.push({ name: shard.file, sha256: shard.sha256, blob: await this.bring(from, hooks, signal), pieces: await this.parts.store.pieces(shard.sha256) });
      before += shard.bytes;
    }
    return shards;
  }

  /**
   * One shard. Where storage refuses (full, or a private window after all), it
   * is kept in memory for this visit.
   * @param {import("./shard_fetch.mjs").Shard} shard
   * @param {import("./shard_fetch.mjs").FetchHooks} hooks
   * @param {AbortSignal} signal
   */
  async bring(shard, hooks, signal) {
    try {
      return await fetchShard(this.parts.store, shard, hooks, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof DOMException) || this.parts.store.kind === 'memory') throw error;
      this.parts.store = new MemoryStore();
      this.parts.onTrouble(`The browser's storage refuses the model (${error.name}). It is kept in memory for this visit.`);
      return fetchShard(this.parts.store, shard, hooks, signal);
    }
  }

  /**
   * Forget stored shards that no engine holds where the person's limit asks for it.
   * @param {import("./grid.mjs").ShardInfo[]} wanted
   * @param {number} total  bytes of these
   */
  async makeRoom(wanted, total) {
    const held = this.loaded.flatMap((l) => l.model.shards.slice(l.first, l.end));
    const needed = new Set([...wanted, ...held].map((s) => s.sha256));
    const others = (await this.parts.store.list()).filter((s) => !needed.has(s.sha256));
    let all = total + held.reduce((n, s) => n + s.bytes, 0) + others.reduce((n, s) => n + s.bytes, 0);
    for (const other of others) {
      if (all <= this.parts.tuning.maxBytes) return;
      await this.parts.store.remove(other.sha256);
      all -= other.bytes;
    }
  }

  tellHeld() {
    const spans = this.loaded.map(({ model, first, end }) => ({
      model: model.name,
      first: model.shards[first].layers[0],
      end: model.shards[end - 1].layers[1],
      layers: model.shards[model.shards.length - 1].layers[1],
    }));
    this.parts.onHeld(spans, this.bytes(), this.threads());
  }

  /**
   * @param {Loaded} loaded
   * @param {string} why
   */
  remove(loaded, why) {
    loaded.engine.end(why);
    this.loaded = this.loaded.filter((l) => l !== loaded);
    this.tellHeld();
  }

  /** @param {string} why */
  drop(why) {
    for (const loaded of this.loaded) loaded.engine.end(why);
    this.loaded = [];
    this.tellHeld();
  }
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
}
