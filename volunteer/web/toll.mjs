// @ts-check
// toll.mjs - the proof of work that a server asks of new accounts of a network
// address that opened many (base/toll.h). It is searched for in pieces, so that
// whoever runs it can be stopped, and hears what is going on.

import { sleep } from './http.mjs';
import { toHex } from './syn1.mjs';

const PIECE = 1 << 15; // tries at a time: some hundredths of a second
const TELL_MS = 500;
export const TOLL_BITS_MAX = 40; // more than that nobody should try

const HASH_LEN = 32;

/**
 * @typedef {object} Searcher  what WasmEngine has
 * @property {(challenge: string) => Uint8Array} beginToll
 * @property {(toll: Uint8Array, tries: number, bits: number) => boolean} searchToll
 */

/**
 * The nonce that pays, as hex digits.
 * @param {Searcher} searcher
 * @param {string} challenge
 * @param {number} bits
 * @param {(tries: number) => void} onTries  now and then: how many were made
 * @param {AbortSignal} signal
 * @returns {Promise<string>}
 */
export async function payToll(searcher, challenge, bits, onTries, signal) {
  if (!(bits >= 0 && bits <= TOLL_BITS_MAX)) throw new Error(`the server asks for a proof of work of ${bits} bits, which is too much`);
  const toll = searcher.beginToll(challenge);
  let told = -Infinity;
  for (let tries = 0; ; tries += PIECE) {
    if (performance.now() - told > TELL_MS) {
      onTries(tries);
      told = performance.now();
    }
    await sleep(0, signal);
    if (searcher.searchToll(toll, PIECE, bits)) break;
  }
  return toHex(toll.subarray(HASH_LEN));
}
