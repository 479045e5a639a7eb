// truth.mjs - requests with what each of their lines must be, whoever computes
// them, and who did.
// @ts-check

import assert from 'node:assert/strict';

import { answerOf, runLocal } from './grid.mjs';

// Work goes to whoever asks first, so one who is as willing as the others may
// still go without in one batch, and in a few more.
const BATCHES_MAX = 20;

/**
 * @typedef {import('./grid.mjs').Request} Request
 * @typedef {{id: string, name: string, backend: string}} Computer
 */

export class Truth {
  /** @param {Request[]} requests */
  constructor(requests) {
    this.requests = requests;
    /** @type {Map<string, {text: string, tokens: number[], finish_reason: string}>} */
    this.lines = new Map();
  }

  /** What `synapse run` makes of these requests. @param {Request[]} requests */
  static async of(requests) {
    const truth = new Truth(requests);
    for (const request of requests) {
      const { text, tokens, finish_reason } = await runLocal(request);
      truth.lines.set(request.custom_id, { text, tokens, finish_reason });
    }
    return truth;
  }

  /** Each request has one line, it is right, and it is confirmed.
   * @param {any[]} lines of the results */
  assertLines(lines) {
    const byId = new Map(lines.map((line) => [line.custom_id, line]));
    assert.equal(lines.length, this.requests.length, 'a line for each request');
    assert.equal(byId.size, lines.length, 'no line twice');
    for (const [id, right] of this.lines) {
      const line = byId.get(id);
      assert.equal(line?.error, null, `${id}: ${JSON.stringify(line?.error)}`);
      assert.deepEqual(answerOf(line), right, id);
      assert.equal(line.response.body.synapse.confirmed, true);
    }
  }

  /** Compute the requests; each line must be right.
   * @param {import('./grid.mjs').Grid} grid @returns {Promise<any[]>} the lines */
  async compute(grid) {
    const lines = [...(await grid.compute(this.requests)).values()];
    this.assertLines(lines);
    return lines;
  }

  /** Compute the requests, again and again, until those of the lines' computers
   * that this gives a word for have all these words; each line must be right.
   * @param {import('./grid.mjs').Grid} grid
   * @param {(one: Computer) => string} wordOf @param {string[]} words
   * @param {Set<string>} [seen] that were there before */
  async computeUntil(grid, wordOf, words, seen = new Set()) {
    for (let i = 0; i < BATCHES_MAX && !words.every((word) => seen.has(word)); i++)
      for (const one of computers(await this.compute(grid))) seen.add(wordOf(one));
    assert.deepEqual([...seen].sort(), [...words].sort(), 'who had work');
  }
}

/** Who computed these lines; one that computed several comes several times.
 * @param {any[]} lines @returns {Computer[]} */
export function computers(lines) {
  return lines.flatMap((line) => line.response.body.synapse.computed_by);
}
