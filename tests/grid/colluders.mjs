// colluders.mjs - honest volunteers and colluders of real processes, each in an
// address block of its own (127.x.y.0/24), and what becomes of a batch of theirs.
// @ts-check

import { readFileSync } from 'node:fs';
import path from 'node:path';

import { Grid, ROOT, answerOf, runLocal } from './grid.mjs';

const STRIKES = 3; // that ban
const DIFFERENT = 6; // requests; the lines repeat them

/** @typedef {object} Plot
 * @property {number} honest volunteers
 * @property {number} liars colluders
 * @property {number} lines
 * @property {number} redundancy
 * @property {string} plan of the colluders, as tests/adversary/cheat.h says
 * @property {number} [tokens] of a line
 * @property {number} [limitMs] */

/** @typedef {object} Outcome
 * @property {number} delivered lines
 * @property {number} wrong of them
 * @property {number} banned liars, at the end
 * @property {number} free liars that were caught as often as bans, and are not banned
 * @property {number} accused honest ones banned
 * @property {number} caught disagreements that liars lost
 * @property {any} batch */

/** Requests, greedy and sampled. @param {number} tokens */
function requestsOf(tokens) {
  const golden = JSON.parse(readFileSync(path.join(ROOT, 'ops/models/tales-gpt2/golden.json'), 'utf8'));
  return Array.from({ length: DIFFERENT }, (_, i) => ({
    custom_id: '',
    prompt: golden.greedy[i % golden.greedy.length].prompt,
    max_tokens: tokens,
    ...(i % 2 ? { temperature: 0.9, top_p: 0.95, seed: i } : { temperature: 0 }),
  }));
}

/** @param {any[]} board @param {(name: string) => boolean} who */
const banned = (board, who) => board.filter((row) => who(row.name) && row.banned).length;

/** @param {Plot} plot @returns {Promise<Outcome>} */
export async function collude(plot) {
  const requests = requestsOf(plot.tokens ?? 12);
  /** @type {number[][]} */
  const truth = [];
  for (const request of requests) truth.push((await runLocal(request)).tokens);
  const grid = await Grid.start();
  try {
    for (let i = 0; i < plot.honest + plot.liars; i++) {
      const liar = i >= plot.honest;
      grid.liar(`${liar ? 'Liar' : 'Honest'}-${i}`, liar ? `${plot.plan},seed=${i}` : 'none',
        ['--from', `127.${1 + i}.${1 + i}.1`, '--threads', '1', '--sequences', '4']);
    }
    const { id } = await grid.submit(
      Array.from({ length: plot.lines }, (_, i) => ({ ...requests[i % DIFFERENT], custom_id: `line-${i}` })),
      { redundancy: plot.redundancy });
    const batch = await grid.finished(id, plot.limitMs);
    const lines = await grid.results(id);
    const board = (await grid.ask('/v1/leaderboard')).data;
    const wrong = lines.filter((line) => {
      const at = Number(line.custom_id.slice('line-'.length)) % DIFFERENT;
      const { tokens } = answerOf(line);
      return JSON.stringify(tokens) !== JSON.stringify(truth[at]);
    });
    const isLiar = (/** @type {string} */ name) => name.startsWith('Liar');
    return {
      delivered: lines.length,
      wrong: wrong.length,
      banned: banned(board, isLiar),
      accused: banned(board, (name) => !isLiar(name)),
      caught: board.filter((/** @type {any} */ row) => isLiar(row.name))
        .reduce((/** @type {number} */ n, /** @type {any} */ row) => n + row.disagreements, 0),
      free: board.filter((/** @type {any} */ row) => isLiar(row.name) && row.disagreements >= STRIKES && !row.banned).length,
      batch,
    };
  } finally {
    await grid.stop();
  }
}
