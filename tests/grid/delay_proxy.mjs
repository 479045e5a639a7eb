// delay_proxy.mjs - a network that is slow: a TCP proxy that holds back every
// byte, both ways, for so long, and counts them. As much as comes is in flight
// at a time, and order is kept.
// @ts-check

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** @typedef {import('node:net').Socket} Socket */

export class DelayProxy {
  /** @param {number} port of the server @param {number} delayMs one way */
  constructor(port, delayMs) {
    this.delayMs = delayMs;
    this.up = 0; // bytes to the server
    this.down = 0;
    this.requests = 0; // about: pieces from the client that begin one
    /** @type {Set<Socket>} */
    this.sockets = new Set();
    this.server = createServer({ allowHalfOpen: true }, (client) => {
      const server = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      this.pass(client, server, (data) => {
        this.up += data.length;
        if (/^(GET|POST) /.test(data.toString('latin1', 0, 5))) this.requests++;
      });
      this.pass(server, client, (data) => (this.down += data.length));
    });
    this.url = '';
  }

  /** @param {string} url of the server @param {number} delayMs one way */
  static async start(url, delayMs) {
    const proxy = new DelayProxy(Number(new URL(url).port), delayMs);
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    const address = /** @type {import('node:net').AddressInfo} */ (proxy.server.address());
    proxy.url = `http://127.0.0.1:${address.port}`;
    return proxy;
  }

  /** @param {Socket} from @param {Socket} to @param {(data: Buffer) => void} count */
  pass(from, to, count) {
    const later = (/** @type {() => void} */ what) => void setTimeout(what, this.delayMs);
    from.setNoDelay(true);
    this.sockets.add(from);
    from.on('data', (data) => {
      count(data);
      later(() => to.writable && to.write(data));
    });
    from.on('end', () => later(() => to.end()));
    from.on('error', () => {});
    from.on('close', () => {
      this.sockets.delete(from);
      later(() => to.destroy());
    });
  }

  async stop() {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}
