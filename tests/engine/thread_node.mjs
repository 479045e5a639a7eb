// @ts-check
// thread_node.mjs - thread_worker.mjs as a thread of Node, and what starts one.

import { isMainThread, parentPort, Worker } from 'node:worker_threads';

/** Looks like a Web Worker to threads.mjs. */
export class NodeThread {
  /** @type {any} */
  onmessage = null;
  /** @type {any} */
  onerror = null;

  /** @param {URL} [file] */
  constructor(file = new URL(import.meta.url)) {
    this.worker = new Worker(file);
    this.worker.on('message', (data) => this.onmessage({ data }));
    this.worker.on('error', (error) => this.onerror(error));
    this.worker.unref();
  }

  /** @param {any} message */
  postMessage(message) {
    this.worker.postMessage(message);
  }

  terminate() {
    void this.worker.terminate();
  }
}

if (!isMainThread && parentPort) {
  const port = parentPort;
  const self = /** @type {any} */ ({ postMessage: (/** @type {any} */ message) => port.postMessage(message) });
  Object.assign(globalThis, { self });
  await import('../../volunteer/web/thread_worker.mjs');
  port.on('message', (data) => self.onmessage({ data }));
}
