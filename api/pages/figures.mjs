// @ts-check
// figures.mjs - numbers, and small helpers of the pages that show them. Text
// reaches a page only through textContent.

const PLAIN = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

/**
 * A count, whole up to 99,999 and short from there (1.23M).
 * @param {unknown} n
 */
export function count(n) {
  if (typeof n !== 'number' || !Number.isFinite(n)) return '–';
  return n < 100000 ? PLAIN.format(n) : SHORT.format(n);
}

/**
 * A rate, with one decimal while it is small.
 * @param {unknown} n
 */
export function rate(n) {
  if (typeof n !== 'number' || !Number.isFinite(n)) return '–';
  return n > 0 && n < 10 ? n.toFixed(1) : count(n);
}

/**
 * A part of one as per cent; what is not all of it never reads as 100 %.
 * @param {unknown} n
 */
export function share(n) {
  if (typeof n !== 'number' || !Number.isFinite(n)) return '–';
  return n === 1 ? '100 %' : `${(Math.floor(n * 1000) / 10).toFixed(1)} %`;
}

/** @param {unknown} n  bytes */
export function megabytes(n) {
  if (typeof n !== 'number' || !Number.isFinite(n)) return '–';
  if (n < 100e3) return `${(n / 1e3).toFixed(n > 0 && n < 1e4 ? 1 : 0)} kB`;
  if (n < 100e6) return `${(n / 1e6).toFixed(1)} MB`;
  return n < 10e9 ? `${PLAIN.format(n / 1e6)} MB` : `${(n / 1e9).toFixed(1)} GB`;
}

/** What people call the engines. @param {unknown} backend */
export function backendName(backend) {
  const names = /** @type {Record<string, string>} */ ({
    'wasm-relaxed': 'Wasm, relaxed SIMD',
    'wasm-simd': 'Wasm, SIMD',
    webgpu: 'WebGPU',
  });
  if (typeof backend !== 'string' || !backend) return 'not known';
  if (Object.hasOwn(names, backend)) return names[backend];
  return backend.startsWith('native-') ? `native (${backend.slice(7)})` : backend;
}

/**
 * The element with an id that the page must have.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page lacks #${id}`);
  return found;
}

/**
 * A new element with text in it.
 * @param {string} tag
 * @param {string} className
 * @param {string} text
 */
export function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

/** An answer that is no success. */
export class AnswerError extends Error {
  /** @param {number} status */
  constructor(status) {
    super(`the server answered ${status}`);
    this.status = status;
  }
}

/**
 * GET JSON within ten seconds, or an error.
 * @param {string} url
 * @param {string} [key]  API key
 * @returns {Promise<any>}
 */
export async function getJson(url, key) {
  /** @type {Record<string, string>} */
  const headers = { accept: 'application/json' };
  if (key) headers.authorization = `Bearer ${key}`;
  const response = await fetch(url, { signal: AbortSignal.timeout(10000), headers });
  if (!response.ok) throw new AnswerError(response.status);
  return response.json();
}

/**
 * Run `work` now and then every `ms` while the page is visible; when it throws,
 * `onTrouble` gets the error and the wait doubles, up to a minute.
 * @param {() => Promise<void>} work
 * @param {number} ms
 * @param {(error: Error|null) => void} onTrouble
 */
export async function repeat(work, ms, onTrouble) {
  let wait = ms;
  for (;;) {
    if (document.visibilityState === 'visible') {
      try {
        await work();
        onTrouble(null);
        wait = ms;
      } catch (error) {
        onTrouble(error instanceof Error ? error : new Error(String(error)));
        wait = Math.min(60000, wait * 2);
      }
    }
    const jitter = 0.85 + Math.random() * 0.3;
    await new Promise((resolve) => setTimeout(resolve, wait * jitter));
  }
}
