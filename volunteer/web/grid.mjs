// @ts-check
// grid.mjs - the server as a volunteer sees it: join, the work call, progress,
// presence, leaving, and what models there are. One Membership is one joined
// volunteer; its calls are numbered and strictly one at a time.

import { Backoff, NetworkError, errorOf, getJson, request, sleep } from './http.mjs';
import { parseAnswer } from './syn1.mjs';

const JOIN_MS = 20000;
const CALL_SLACK_MS = 20000; // beyond the time a call asked to be held
const SHORT_MS = 10000;
const PAY_FIRST = 428; // HTTP's status for it
const PAYMENTS_MAX = 3; // of one join

/**
 * @typedef {import("./syn1.mjs").Answer} Answer
 *
 * @typedef {object} ShardInfo
 * @property {string} file
 * @property {number} bytes
 * @property {string} sha256
 * @property {number[]} layers  first, and one past the last; only in manifests
 *
 * @typedef {object} ModelInfo
 * @property {string} id      64 hex digits
 * @property {string} name
 * @property {number} bytes
 * @property {ShardInfo[]} shards
 *
 * @typedef {object} Introduction
 * @property {string} account  64 hex digits, the secret key
 * @property {string} name
 * @property {string} backend
 * @property {number} memory
 * @property {number} threads
 */

/** The server no longer knows this volunteer: join again. */
export class RejoinError extends Error {}

/**
 * The models that a server offers, from its public list and their manifests.
 * @param {string} base
 * @param {AbortSignal} signal
 * @returns {Promise<ModelInfo[]>}
 */
export async function listModels(base, signal) {
  const list = await getJson(`${base}/v1/models`, signal);
  const models = [];
  for (const entry of list?.data ?? []) {
    const id = entry?.synapse?.model_id;
    const manifest = await getJson(`${base}/v1/models/${id}/manifest.json`, signal);
    models.push(checkModel({ id, name: entry.id, bytes: entry.synapse.bytes, shards: manifest.shards }));
  }
  return models;
}

/**
 * What the rest of the page relies on, or an error.
 * @param {any} model
 * @returns {ModelInfo}
 */
function checkModel(model) {
  const shards = Array.isArray(model?.shards) ? model.shards : [];
  const good =
    typeof model.id === 'string' && /^[0-9a-f]{64}$/.test(model.id) && typeof model.name === 'string' &&
    shards.length > 0 &&
    shards.every(
      (/** @type {any} */ s) =>
        typeof s?.file === 'string' && (s.layers ?? [0, 1]).length === 2 && (s.layers ?? []).every(Number.isSafeInteger) && Number.isSafeInteger(s.bytes) && s.bytes > 0 &&
        typeof s.sha256 === 'string' && /^[0-9a-f]{64}$/.test(s.sha256),
    );
  if (!good) throw new Error('the server describes its models in a way this page does not know');
  const bytes = shards.reduce((/** @type {number} */ n, /** @type {any} */ s) => n + s.bytes, 0);
  return { id: model.id, name: model.name, bytes, shards };
}

/**
 * Where a shard is fetched from.
 * @param {string} base
 * @param {ModelInfo} model
 * @param {ShardInfo} shard
 */
export function shardUrl(base, model, shard) {
  return `${base}/v1/models/${model.id}/shards/${encodeURIComponent(shard.file)}`;
}

/**
 * The proof of work that an answer asks for, or null.
 * @param {Response} response
 * @returns {Promise<{challenge: string, bits: number} | null>}
 */
async function tollOf(response) {
  const { proof_of_work: asked } = await response.clone().json().catch(() => ({}));
  return typeof asked?.challenge === 'string' && Number.isInteger(asked.bits) ? asked : null;
}

/** One joined volunteer. */
export class Membership {
  /**
   * Join. Throws NetworkError, or HttpError where the server refused.
   * @param {string} base
   * @param {Introduction} who
   * @param {(challenge: string, bits: number) => Promise<string>} pay  solves a proof of work (toll.mjs)
   * @param {AbortSignal} signal
   * @returns {Promise<Membership>}
   */
  static async join(base, who, pay, signal) {
    const headers = { 'content-type': 'application/json' };
    /** @type {{challenge: string, nonce: string} | undefined} */
    let proof;
    for (let paid = 0; ; paid++) {
      const body = JSON.stringify({ ...who, kernel_class: 'exact', proof_of_work: proof });
      const response = await request(`${base}/v1/volunteers`, { method: 'POST', body, headers, signal }, JOIN_MS);
      if (response.ok) return new Membership(base, await response.json());
      const asked = response.status === PAY_FIRST && paid < PAYMENTS_MAX ? await tollOf(response) : null;
      if (!asked) throw await errorOf(response);
      proof = { challenge: asked.challenge, nonce: await pay(asked.challenge, asked.bits) };
    }
  }

  /**
   * @param {string} base
   * @param {any} joined  the server's answer
   */
  constructor(base, joined) {
    /** @type {string} */
    this.id = joined.id;
    /** @type {string} */
    this.token = joined.token;
    /** @type {string} */
    this.accountId = joined.account_id;
    /** @type {string} */
    this.name = joined.name;
    /** @type {ModelInfo[]} */
    this.models = (joined.models ?? []).map(checkModel);
    this.waitMs = Math.min(25000, joined.wait_ms || 20000);
    this.progressMs = joined.progress_ms || 2000;
    this.url = `${base}/v1/volunteers/${encodeURIComponent(joined.id)}`;
    this.number = 0;
  }

  /** @param {Record<string, string>} more */
  headers(more) {
    return { authorization: `Bearer ${this.token}`, ...more };
  }

  /** The number of the next call. */
  nextNumber() {
    return ++this.number;
  }

  /**
   * Post a call until its answer is here; the same bytes every time, so that it
   * counts once. Throws RejoinError, or HttpError for a call that the server
   * calls malformed.
   * @param {Uint8Array<ArrayBuffer>} call
   * @param {number} waitMs
   * @param {{onRetry: (why: string, ms: number) => void, onDown: (bytes: number) => void,
   *   onUp: (bytes: number) => void}} hooks
   * @param {AbortSignal} signal
   * @returns {Promise<Answer>}
   */
  async call(call, waitMs, hooks, signal) {
    const backoff = new Backoff(500, 15000);
    for (;;) {
      let why;
      try {
        hooks.onUp(call.length);
        const answer = await this.callOnce(call, waitMs, signal);
        if (answer instanceof Uint8Array) {
          hooks.onDown(answer.length);
          return parseAnswer(answer);
        }
        why = answer;
      } catch (error) {
        if (!(error instanceof NetworkError)) throw error;
        why = error.message;
      }
      const ms = backoff.next();
      hooks.onRetry(why, ms);
      await sleep(ms, signal);
    }
  }

  /**
   * One try: the answer's bytes, or why it is worth trying again.
   * @param {Uint8Array<ArrayBuffer>} call
   * @param {number} waitMs
   * @param {AbortSignal} signal
   * @returns {Promise<Uint8Array|string>}
   */
  async callOnce(call, waitMs, signal) {
    const headers = this.headers({ 'content-type': 'application/octet-stream' });
    const init = { method: 'POST', body: call, headers, signal };
    const response = await request(`${this.url}/work`, init, waitMs + CALL_SLACK_MS);
    if (response.status === 200 || response.status === 410) {
      try {
        return new Uint8Array(await response.arrayBuffer());
      } catch {
        signal.throwIfAborted();
        throw new NetworkError('the connection broke');
      }
    }
    const error = await errorOf(response);
    if ([401, 404, 409].includes(response.status)) throw new RejoinError(error.message);
    if (response.status === 429 || response.status >= 500) return error.message;
    throw error;
  }

  /**
   * Extend the leases of what is in hand. Failures do not matter: the next one
   * comes soon, and the work call notices what is wrong.
   * @param {string[]} units
   * @param {number} tokens
   * @param {AbortSignal} signal
   */
  async progress(units, tokens, signal) {
    const headers = this.headers({ 'content-type': 'application/json' });
    const body = JSON.stringify({ units, tokens });
    try {
      await request(`${this.url}/progress`, { method: 'POST', body, headers, signal }, SHORT_MS);
    } catch {
      signal.throwIfAborted();
    }
  }

  /**
   * Hold the presence request as long as the signal lets it, opening it again
   * when it breaks: its closing tells the server that this volunteer is gone.
   * @param {AbortSignal} signal
   */
  async presence(signal) {
    const backoff = new Backoff(250, 5000);
    for (;;) {
      try {
        const headers = this.headers({ accept: 'text/event-stream' });
        const response = await request(`${this.url}/presence`, { headers, signal, cache: 'no-store' }, SHORT_MS);
        const reader = response.ok ? response.body?.getReader() : null;
        while (reader && !(await reader.read()).done) backoff.reset();
        if (!response.ok) await response.body?.cancel();
      } catch {
        signal.throwIfAborted();
      }
      await sleep(backoff.next(), signal);
    }
  }

  /** Say goodbye; the request outlives the worker. */
  leave() {
    const init = { method: 'POST', headers: this.headers({}), keepalive: true, signal: AbortSignal.timeout(SHORT_MS) };
    fetch(`${this.url}/leave`, init).catch(() => {});
  }
}
