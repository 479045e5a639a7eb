// page_server.mjs - serves folders to the benchmark's page, cross-origin
// isolated, on a free port of loopback.
// @ts-check

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';

const TYPES = /** @type {Record<string, string>} */ ({
  '.mjs': 'text/javascript', '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html',
});

/** @param {Record<string, string>} mounts url prefix, with its slashes, to folder or file */
export async function servePages(mounts) {
  const server = createServer((request, response) => {
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    const url = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname);
    if (url === '/') return response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>bench</title>');
    const prefix = Object.keys(mounts).find((p) => url.startsWith(p));
    const file = prefix && path.join(mounts[prefix], path.normalize(`/${url.slice(prefix.length)}`));
    if (!file || !existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
    response.setHeader('Content-Type', TYPES[path.extname(file)] ?? 'application/octet-stream');
    response.setHeader('Content-Length', statSync(file).size);
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
