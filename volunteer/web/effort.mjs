// @ts-check
// effort.mjs - what "how hard this device works" means: so many percent of the
// processor. Whole threads come first; what is over is taken by pauses.

const THREADS_MAX = 16;

/**
 * @typedef {object} Effort
 * @property {number} threads  that compute
 * @property {number} duty     share of the time that they do, 0 .. 1
 */

/**
 * Threads that there may ever be.
 * @param {import("./features.mjs").Features} features
 */
export function threadsMost({ isolated, cores }) {
  return isolated ? Math.min(THREADS_MAX, cores) : 1;
}

/**
 * @param {number} intensity  percent
 * @param {number} most       threads that there may be; 1 where pauses are all there is
 * @returns {Effort}
 */
export function effortOf(intensity, most) {
  const share = (most * Math.min(100, Math.max(1, intensity))) / 100;
  const threads = Math.ceil(share);
  return { threads, duty: share / threads };
}
