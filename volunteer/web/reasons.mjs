// @ts-check
// reasons.mjs - why the server had no work, in words for the person who lends
// the device.

import { Reason } from './syn1.mjs';

/** @type {Readonly<Record<number, string>>} */
const TEXTS = Object.freeze({
  [Reason.NO_WORK]: 'No prompts are waiting right now. This device is asked as soon as some arrive.',
  [Reason.NOT_CACHED]: 'There is work for a model that is not on this device yet.',
  [Reason.QUOTA]: 'Many devices compute from this network address already, and the server limits how many may.',
  [Reason.TRUST]: 'What waits now is for other devices: nobody checks their own work, and some of it needs a proven device.',
  [Reason.STORE_DOWN]: 'The server cannot save results at the moment. Nothing is lost; it will ask again.',
  [Reason.DRAINING]: 'The server is about to restart. This page reconnects by itself.',
  [Reason.NO_SLOTS]: 'This device has as many prompts in hand as it has memory for.',
  [Reason.BANNED]: 'Too many answers of this account did not stand up to a check, so the server gives it no work.',
});

/**
 * @param {number} reason  of an answer without a unit
 * @returns {string}
 */
export function reasonText(reason) {
  return TEXTS[reason] ?? 'The server has no work and gave a reason this page does not know.';
}
