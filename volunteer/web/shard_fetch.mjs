// @ts-check
// shard_fetch.mjs - bring one shard into a store: resume what is there, hash
// while the bytes come, and keep the file only if its SHA-256 is the promised
// one.

import { Backoff, HttpError, NetworkError, errorOf, request, sleep } from './http.mjs';

const TRIES_MAX = 6;
const WRONG_MAX = 2;
const HEAD_MS = 20000;

/**
 * @typedef {import("./shard_store.mjs").ShardStore} ShardStore
 * @typedef {import("./shard_store.mjs").Part} Part
 *
 * @typedef {object} Hasher
 * @property {(bytes: Uint8Array) => void} update
 * @property {() => string} hex  ends it
 *
 * @typedef {object} Shard
 * @property {string} url
 * @property {string} sha256  64 hex digits
 * @property {number} bytes
 *
 * @typedef {object} FetchHooks
 * @property {() => Hasher} newHasher
 * @property {(bytes: number) => void} onBytes  so many more came over the network
 * @property {(have: number) => void} onHave    so many are here now
 * @property {Backoff} [backoff]
 */

/** The server's bytes are not the ones it promised, or do not come at all. */
export class ShardError extends Error {}

/**
 * The shard's bytes, verified, from the store or from the network.
 * @param {ShardStore} store
 * @param {Shard} shard
 * @param {FetchHooks} hooks
 * @param {AbortSignal} signal
 * @returns {Promise<Blob>}
 */
export async function fetchShard(store, shard, hooks, signal) {
  const kept = await store.get(shard.sha256, shard.bytes);
  if (kept) return kept;
  const part = await store.part(shard.sha256);
  try {
    const download = new Download(part, shard, hooks, store.kind === 'memory' ? 'default' : 'no-store');
    await download.finish(signal);
    return await part.keep();
  } finally {
    part.close();
  }
}

class Download {
  /**
   * @param {Part} part
   * @param {Shard} shard
   * @param {FetchHooks} hooks
   * @param {RequestCache} cache  what the browser's own HTTP cache may do
   */
  constructor(part, shard, hooks, cache) {
    this.part = part;
    this.shard = shard;
    this.hooks = hooks;
    this.cache = cache;
    this.hasher = hooks.newHasher();
    this.wrong = 0;
  }

  /** @param {AbortSignal} signal */
  async finish(signal) {
    const backoff = this.hooks.backoff ?? new Backoff();
    if (this.part.size > this.shard.bytes) this.restart();
    await this.part.replay((bytes) => this.hasher.update(bytes));
    this.hooks.onHave(this.part.size);
    while (!this.verified()) {
      const before = this.part.size;
      try {
        await this.pull(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof NetworkError) && !(error instanceof HttpError && error.status >= 500)) throw error;
      }
      if (this.part.size > before) backoff.reset();
      else if (this.part.size < this.shard.bytes) {
        if (backoff.tries >= TRIES_MAX) throw new ShardError('the download does not get on');
        await sleep(backoff.next(), signal);
      }
    }
  }

  /** Whether all bytes are here and right. Wrong ones are dropped. */
  verified() {
    if (this.part.size < this.shard.bytes) return false;
    if (this.hasher.hex() === this.shard.sha256) return true;
    if (++this.wrong >= WRONG_MAX)
      throw new ShardError('the server sent other bytes than it promised; nothing of them was kept');
    this.restart();
    return false;
  }

  restart() {
    this.part.clear();
    this.hasher = this.hooks.newHasher();
    this.hooks.onHave(0);
  }

  /**
   * Ask for what is missing and append what comes.
   * @param {AbortSignal} signal
   */
  async pull(signal) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (this.part.size) headers.range = `bytes=${this.part.size}-`;
    const response = await request(this.shard.url, { signal, headers, cache: this.cache }, HEAD_MS);
    if (response.status === 416) return this.restart();
    if (!response.ok) throw await errorOf(response);
    if (this.part.size && !this.continues(response)) this.restart();
    if (!response.body) throw new NetworkError('the answer has no body');
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await readSome(reader, signal);
      if (done) return;
      if (this.part.size + value.length > this.shard.bytes)
        throw new ShardError('the server sent more bytes than it promised');
      this.part.append(value);
      this.hasher.update(value);
      this.hooks.onBytes(value.length);
      this.hooks.onHave(this.part.size);
    }
  }

  /** @param {Response} response */
  continues(response) {
    const range = response.headers.get('content-range') ?? '';
    return response.status === 206 && range.startsWith(`bytes ${this.part.size}-`);
  }
}

/**
 * @param {ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>} reader
 * @param {AbortSignal} signal
 */
async function readSome(reader, signal) {
  try {
    return await reader.read();
  } catch {
    signal.throwIfAborted();
    throw new NetworkError('the connection broke');
  }
}
