// raw_volunteer.mjs - a volunteer whose every frame a test writes itself, to do
// what no honest one would.
// @ts-check

import { randomBytes } from 'node:crypto';

import { encodeCall, parseAnswer } from '../../volunteer/web/syn1.mjs';

/** @typedef {import('../../volunteer/web/syn1.mjs').Call} Call */

export class RawVolunteer {
  /** @param {string} url of the server @param {any} joined what it answered */
  constructor(url, joined) {
    this.url = url;
    this.id = joined.id;
    this.token = joined.token;
    this.models = joined.models;
    this.presence = new AbortController();
  }

  /** Join, and hold presence. @param {string} url @param {string} name */
  static async join(url, name) {
    const response = await fetch(`${url}/v1/volunteers`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        account: randomBytes(32).toString('hex'),
        name,
        backend: 'native-ref',
        kernel_class: 'exact',
        memory: 1 << 30,
        threads: 1,
      }),
    });
    if (response.status !== 201) throw new Error(`joining answered ${response.status}: ${await response.text()}`);
    const raw = new RawVolunteer(url, await response.json());
    const held = await fetch(raw.route('presence'), { headers: raw.headers(), signal: raw.presence.signal });
    held.text().catch(() => {}); // ends when it is aborted
    return raw;
  }

  /** @param {string} leaf */
  route(leaf) {
    return `${this.url}/v1/volunteers/${this.id}/${leaf}`;
  }

  headers() {
    return { authorization: `Bearer ${this.token}`, 'content-type': 'application/octet-stream' };
  }

  /** Post these bytes as a work call.
   * @param {Uint8Array<ArrayBuffer>} body @param {{token?: string, id?: string}} [as] */
  async post(body, as = {}) {
    const response = await fetch(`${this.url}/v1/volunteers/${as.id ?? this.id}/work`, {
      method: 'POST',
      headers: { ...this.headers(), authorization: `Bearer ${as.token ?? this.token}` },
      body,
      signal: AbortSignal.timeout(30_000),
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    const isFrame = response.headers.get('content-type') === 'application/octet-stream';
    return {
      status: response.status,
      bytes,
      answer: isFrame ? parseAnswer(bytes) : null,
      error: isFrame ? null : JSON.parse(Buffer.from(bytes).toString() || 'null')?.error,
    };
  }

  /** The bytes of a call. @param {number} number @param {Partial<Call>} [call] */
  frame(number, call = {}) {
    return encodeCall({
      number,
      held: [],
      models: this.models.map((/** @type {any} */ m) => ({ model: m.id.slice(0, 32), first: 0, end: m.shards.length })),
      slots: 4,
      memory: 1 << 29,
      prefill: 100,
      decode: 50,
      waitMs: 0,
      result: null,
      ...call,
    });
  }

  /** @param {number} number @param {Partial<Call>} [call] */
  async call(number, call) {
    return this.post(this.frame(number, call));
  }

  async leave() {
    await fetch(this.route('leave'), { method: 'POST', headers: this.headers() });
    this.presence.abort();
  }
}
