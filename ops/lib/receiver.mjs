// receiver.mjs - a webhook receiver on loopback that verifies what arrives.
// @ts-check

import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

/** @typedef {{id: string, type: string, data: any}} Delivery */

/**
 * Start a receiver on a free port. Deliveries that verify under the secret
 * given to `trust` are answered 204 and handed out by `next`; others get 401.
 */
export async function startReceiver() {
  /** @type {Webhook | undefined} */
  let webhook;
  /** @type {Delivery[]} */
  const arrived = [];
  /** @type {((delivery: Delivery) => void)[]} */
  const waiting = [];

  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    try {
      if (!webhook) throw new Error('no secret yet');
      const body = Buffer.concat(chunks).toString();
      const headers = /** @type {Record<string, string>} */ (request.headers);
      const event = /** @type {any} */ (webhook.verify(body, headers));
      const delivery = { id: headers['webhook-id'], type: event.type, data: event.data };
      response.writeHead(204).end();
      const take = waiting.shift();
      if (take) take(delivery);
      else arrived.push(delivery);
    } catch (error) {
      response.writeHead(401).end(String(error));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());

  return {
    url: `http://127.0.0.1:${port}/callback`,
    /** @param {string} secret whsec_... */
    trust(secret) {
      webhook = new Webhook(secret);
    },
    /** The next verified delivery. @returns {Promise<Delivery>} */
    next() {
      const delivery = arrived.shift();
      if (delivery) return Promise.resolve(delivery);
      return new Promise((resolve) => waiting.push(resolve));
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
