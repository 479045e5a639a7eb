// @ts-check
// models.mjs - the models that this device has or can have: brings their shards
// into the store, the right one into the engine, and knows what fits.

import { EngineError } from './engine_remote.mjs';
import { shardUrl } from './grid.mjs';
import { fetchShard } from './shard_fetch.mjs';
import { MemoryStore } from './shard_store.mjs';

const ID16 = 32; // hex digits of the model ids in frames

/**
 * @typedef {import("./grid.mjs").ModelInfo} ModelInfo
 * @typedef {import("./messages.mjs").State} State
 * @typedef {import("./messages.mjs").Tuning} Tuning
 * @typedef {import("./shard_fetch.mjs").Hasher} Hasher
 * @typedef {import("./shard_store.mjs").ShardStore} ShardStore
 * @typedef {import("./engine_remote.mjs").RemoteEngine} RemoteEngine
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
 */

/** A model is larger than the person allows. */
export class TooLargeError extends Error {}

export class Models {
  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    /** @type {ModelInfo[]} */
    this.all = [];
    /** @type {ModelInfo|null} */
    this.loaded = null;
    /** @type {RemoteEngine|null} */
    this.engine = null;
    this.capacity = 0; // sequences that the engine keeps at a time
  }

  /**
   * Get the first model that fits ready, so that work finds the device prepared.
   * @param {ModelInfo[]} all  what the server offers, its preference first
   * @param {AbortSignal} signal
   */
  async prepare(all, signal) {
    this.all = all;
    const fits = all.find((m) => m.bytes <= this.parts.tuning.maxBytes);
    if (fits) return this.load(fits, signal);
    if (all.length === 0) throw new TooLargeError('The server offers no model at the moment.');
    const least = all.reduce((a, b) => (a.bytes <= b.bytes ? a : b));
    throw new TooLargeError(
      `The smallest model, ${least.name}, takes ${megabytes(least.bytes)}, and you allow ` +
        `${megabytes(this.parts.tuning.maxBytes)}. Allow more to take part.`,
    );
  }

  /** What a call lists: whole models that are in the engine. */
  cached() {
    if (!this.loaded) return [];
    return [{ model: this.loaded.id.slice(0, ID16), first: 0, end: this.loaded.shards.length }];
  }

  /** Sequences that the engine keeps at a time; idle ones make way by themselves. */
  slots() {
    return this.capacity;
  }

  /** @param {string} model16 */
  find(model16) {
    const model = this.all.find((m) => m.id.startsWith(model16));
    if (!model) throw new Error('the server asks for a model that it did not offer');
    return model;
  }

  /**
   * @param {string} model16  first 16 bytes of a model's id, as hex
   * @param {AbortSignal} signal
   */
  async fetch(model16, signal) {
    const model = this.find(model16);
    if (model.bytes > this.parts.tuning.maxBytes)
      throw new TooLargeError(`${model.name} takes ${megabytes(model.bytes)}, more than you allow.`);
    await this.load(model, signal);
  }

  /**
   * @param {string} model16
   * @param {Uint8Array} frame
   * @param {AbortSignal} signal
   */
  async run(model16, frame, signal) {
    const model = this.find(model16);
    if (this.loaded?.id !== model.id) await this.load(model, signal);
    if (!this.engine) throw new Error('no engine');
    try {
      return await this.engine.run(frame);
    } catch (error) {
      // Whatever went wrong in there, a fresh engine does not carry it along.
      this.drop('the engine is started anew');
      throw error;
    }
  }

  /**
   * Shards from the store or the network into a fresh engine.
   * @param {ModelInfo} model
   * @param {AbortSignal} signal
   */
  async load(model, signal) {
    if (this.loaded?.id === model.id) return;
    this.drop('another model is loaded');
    for (let again = false; ; again = true) {
      const shards = await this.collect(model, signal);
      this.parts.onState({ name: 'loading', model: model.name });
      const engine = await this.parts.newEngine();
      try {
        const { slots } = await engine.load(model.id, shards, this.parts.tuning.maxBytes);
        this.engine = engine;
        this.loaded = model;
        this.capacity = slots;
        return;
      } catch (error) {
        engine.end('it could not load the model');
        if (!(error instanceof EngineError) || !error.shard || again) throw error;
        await this.parts.store.remove(error.shard); // storage went bad: fetch it again
      }
    }
  }

  /**
   * @param {ModelInfo} model
   * @param {AbortSignal} signal
   */
  async collect(model, signal) {
    await this.makeRoom(model);
    const shards = [];
    let before = 0;
    for (const shard of model.shards) {
      const hooks = {
        newHasher: this.parts.newHasher,
        onBytes: this.parts.onBytes,
        onHave: (/** @type {number} */ have) =>
          this.parts.onState({ name: 'downloading', model: model.name, done: before + have, total: model.bytes }),
      };
      const wanted = { url: shardUrl(this.parts.base, model, shard), sha256: shard.sha256, bytes: shard.bytes };
      shards.push({ name: shard.file, sha256: shard.sha256, blob: await this.bring(wanted, hooks, signal) });
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
   * Forget shards of other models where the person's limit asks for it.
   * @param {ModelInfo} model
   */
  async makeRoom(model) {
    const needed = new Set(model.shards.map((s) => s.sha256));
    const others = (await this.parts.store.list()).filter((s) => !needed.has(s.sha256));
    let total = model.bytes + others.reduce((n, s) => n + s.bytes, 0);
    for (const other of others) {
      if (total <= this.parts.tuning.maxBytes) return;
      await this.parts.store.remove(other.sha256);
      total -= other.bytes;
    }
  }

  /** @param {string} why */
  drop(why) {
    this.engine?.end(why);
    this.engine = null;
    this.loaded = null;
    this.capacity = 0; // sequences that the engine keeps at a time
  }
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
}
