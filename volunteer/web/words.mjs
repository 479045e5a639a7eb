// @ts-check
// words.mjs - what the volunteer does and what its browser offers, in words.

import { count, megabytes } from './figures.mjs';

/**
 * @typedef {import("./messages.mjs").State} State
 * @typedef {import("./messages.mjs").ModelOffer} ModelOffer
 * @typedef {import("./features.mjs").Features} Features
 */

/**
 * A headline and a sentence for a state.
 * @param {State} state
 * @returns {{title: string, detail: string, lamp: "computing"|"checking"|"failed"|"idle"}}
 */
export function stateWords(state) {
  const prompts = state.sequences === 1 ? '1 prompt' : `${count(state.sequences ?? 0)} prompts`;
  const detail = state.detail ?? '';
  switch (state.name) {
    case 'stopped':
      return { title: detail ? 'Paused' : 'Stopped', detail: detail || 'This device computes nothing.', lamp: 'idle' };
    case 'probing':
      return { title: 'Testing the engine', detail: 'A known piece of work must come out right, byte for byte.', lamp: 'idle' };
    case 'joining':
      return { title: 'Joining', detail: 'Telling the server that this device is here.', lamp: 'idle' };
    case 'paying':
      return {
        title: 'Introducing this device',
        detail:
          'Many new devices came from this network address lately, so the server asks each for a small proof of work: ' +
          `${count(state.done ?? 0)} tries of about ${count(state.total ?? 0)}.`,
        lamp: 'idle',
      };
    case 'downloading':
      return {
        title: `Downloading ${state.model}`,
        detail: `${megabytes(state.done)} of ${megabytes(state.total)}`,
        lamp: 'idle',
      };
    case 'loading':
      return { title: `Verifying ${state.model}`, detail: 'Each byte goes through SHA-256 on its way into the engine.', lamp: 'idle' };
    case 'computing':
      return { title: 'Computing', detail: `${prompts} at a time`, lamp: 'computing' };
    case 'checking':
      return { title: 'Checking', detail: `Recomputing ${prompts} that another device answered`, lamp: 'checking' };
    case 'resting':
      return { title: 'Resting', detail: 'Between two units of work, as you asked.', lamp: 'idle' };
    case 'waiting':
      return { title: 'Waiting', detail, lamp: 'idle' };
    case 'retrying':
      return { title: 'Reconnecting', detail, lamp: 'idle' };
    case 'standby':
      return { title: 'Standing by', detail, lamp: 'idle' };
    case 'failed':
      return { title: 'It does not work', detail, lamp: 'failed' };
    default:
      throw new TypeError(`unknown state: ${String(state.name)}`);
  }
}

/**
 * What the browser has and lacks, one sentence each.
 * @param {Features} f
 * @returns {string[]}
 */
export function featureWords(f) {
  const lines = [];
  if (!f.secure)
    lines.push(
      'This address is not secure (https), so the browser gives the page no storage: the model is downloaded ' +
        'at each visit. Computing works all the same.',
    );
  if (!f.simd) lines.push('WebAssembly SIMD is missing. Without it this browser cannot take part; a newer one can.');
  else if (f.relaxed) lines.push('WebAssembly with relaxed SIMD: the fast engine.');
  else lines.push('WebAssembly SIMD, but not its relaxed form: the engine works, more slowly.');
  if (f.storage === 'opfs') lines.push('Private file storage: the model stays here between visits.');
  else if (f.storage === 'cache') lines.push('Cache storage: the model stays here between visits.');
  else if (f.secure) lines.push('No storage (a private window?): the model is downloaded at each visit.');
  if (f.quota) lines.push(`Storage that this page may still use: ${megabytes(f.quota)}.`);
  if (f.isolated) lines.push(`Processor threads: ${count(f.cores)}. How many of them compute is set above.`);
  else lines.push(`Processor threads: ${count(f.cores)}. One computes, as browsers share memory between threads only on a secure address.`);
  return lines;
}

/**
 * What a start will download.
 * @param {ModelOffer[]} models
 * @param {number} maxBytes
 * @returns {{button: string, note: string, fits: boolean}}
 */
export function offerWords(models, maxBytes) {
  const model = models.find((m) => m.bytes <= maxBytes);
  if (!model) {
    const least = models.reduce((n, m) => Math.min(n, m.least), Infinity);
    if (least <= maxBytes)
      return { button: 'Start', note: 'No model fits whole: this device computes a part of one, which the server names.', fits: true };
    const note = models.length
      ? `The smallest part of a model takes ${megabytes(least)}; allow more below to take part.`
      : 'The server offers no model at the moment.';
    return { button: 'Start', note, fits: models.length === 0 };
  }
  if (model.missing === 0) return { button: 'Start', note: `The model ${model.name} is on this device already.`, fits: true };
  return {
    button: `Start and download ${megabytes(model.missing)}`,
    note: `The model ${model.name}, once.`,
    fits: true,
  };
}

/**
 * Which credit is not written yet, and why.
 * @param {{reason: string, lines: number, credit: number}[]} pending
 */
export function pendingWords(pending) {
  const why = /** @type {Record<string, string>} */ ({
    check: 'until recomputed by somebody else',
    later_checks: 'until checks of later work agree',
  });
  const parts = pending.filter((p) => p.lines > 0).map((p) => {
    const lines = p.lines === 1 ? '1 line' : `${count(p.lines)} lines`;
    return `${count(p.credit)} credit for ${lines}, ${why[p.reason] ?? 'until confirmed'}`;
  });
  return parts.length > 0 ? `Pending: ${parts.join('; ')}.` : '';
}

/**
 * What is in the engines, one line a span.
 * @param {import("./messages.mjs").HeldLayers[]} spans
 * @param {number} bytes
 * @param {number} threads  that compute; 0: a GPU does
 * @returns {string}
 */
export function heldWords(spans, bytes, threads) {
  if (spans.length === 0) return '';
  const parts = spans.map(({ model, first, end, layers }) => {
    if (end - first === layers) return `all ${count(layers)} layers of ${model}`;
    if (end - first === 1) return `layer ${count(end)} of the ${count(layers)} of ${model}`;
    return `layers ${count(first + 1)} to ${count(end)} of the ${count(layers)} of ${model}`;
  });
  const who = threads === 0 ? '' : threads === 1 ? ' One processor thread computes.' : ` ${count(threads)} processor threads compute.`;
  return `Holds ${parts.join('; ')}: ${megabytes(bytes)} of memory.${who}`;
}
