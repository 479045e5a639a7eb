// @ts-check
// http.mjs - requests to the server. Each has an AbortSignal and a time limit,
// errors carry what the server said to do, and retries back off with jitter.

/** The server's answer was not a success. `status` is HTTP's. */
export class HttpError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Nothing came back: no network, no server, or no answer in time. */
export class NetworkError extends Error {}

/**
 * fetch, with a time limit for the head of the response. The signal of the caller stops
 * the body too; the time limit ends with the head.
 * @param {string} url
 * @param {RequestInit & {signal: AbortSignal}} init
 * @param {number} limitMs
 * @returns {Promise<Response>}
 */
export async function request(url, init, limitMs) {
  init.signal.throwIfAborted();
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(new NetworkError('no answer in time')), limitMs);
  try {
    return await fetch(url, { ...init, signal: either(init.signal, control) });
  } catch (error) {
    init.signal.throwIfAborted();
    throw new NetworkError(error instanceof NetworkError ? error.message : 'the server cannot be reached');
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A signal for the head and the body of one response.
 * @param {AbortSignal} caller  lives long: no listener may be left on it
 * @param {AbortController} own
 */
function either(caller, own) {
  if (typeof AbortSignal.any === 'function') return AbortSignal.any([caller, own.signal]);
  caller.addEventListener('abort', () => own.abort(caller.reason), { once: true, signal: own.signal });
  return own.signal;
}

/**
 * The error that a failed response stands for.
 * @param {Response} response
 * @returns {Promise<HttpError>}
 */
export async function errorOf(response) {
  let message = `the server answered ${response.status}`;
  try {
    const body = await response.json();
    if (typeof body?.error?.message === 'string') message = body.error.message;
  } catch {
    // Not JSON: a proxy's page. The status has to do.
  }
  return new HttpError(response.status, message);
}

/**
 * GET JSON.
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
export async function getJson(url, signal) {
  const response = await request(url, { signal, headers: { accept: 'application/json' } }, 15000);
  if (!response.ok) throw await errorOf(response);
  return response.json();
}

/**
 * Wait, or stop waiting when the signal says so (it throws its reason).
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}

/** How long to wait before the next try: doubles up to a limit, with jitter. */
export class Backoff {
  /**
   * @param {number} firstMs
   * @param {number} maxMs
   * @param {() => number} random  0 .. 1
   */
  constructor(firstMs = 500, maxMs = 30000, random = Math.random) {
    this.firstMs = firstMs;
    this.maxMs = maxMs;
    this.random = random;
    this.tries = 0;
  }

  /** The next wait in milliseconds: half of it fixed, half of it chance. */
  next() {
    const full = Math.min(this.maxMs, this.firstMs * 2 ** this.tries);
    this.tries++;
    return full / 2 + (full / 2) * this.random();
  }

  reset() {
    this.tries = 0;
  }
}
