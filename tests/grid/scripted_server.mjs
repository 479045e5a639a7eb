// scripted_server.mjs - the volunteers' side of a server, that does what a test
// tells it to: cut a download off, forget a volunteer, drop a connection.
// Never a stand-in for synapsed where synapsed itself is what is tested.
// @ts-check

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';

import { BUILD } from './grid.mjs';
import { answerFrame, callInfo } from './frames.mjs';

/**
 * @typedef {import('node:http').IncomingMessage} Incoming
 * @typedef {import('node:http').ServerResponse} Response
 * @typedef {ReturnType<typeof callInfo> & {body: Buffer}} Call
 * @typedef {(call: Call, response: Response) => Parameters<typeof answerFrame>[1] | null} OnCall
 *   null: the handler has answered by itself
 * @typedef {(response: Response, bytes: Buffer, from: number, request: number) => boolean} OnShard
 *   true: the handler has answered by itself
 */

export class ScriptedServer {
  /** @param {string} modelFolder */
  constructor(modelFolder) {
    this.modelFolder = modelFolder;
    const manifest = readFileSync(path.join(modelFolder, 'manifest.json'));
    this.manifest = manifest;
    this.modelId = createHash('sha256').update(manifest).digest('hex');
    /** @type {string[]} what was asked, in order */
    this.log = [];
    /** @type {Call[]} */
    this.calls = [];
    /** @type {any[]} bodies */
    this.progress = [];
    this.joins = 0;
    /** @type {any[]} bodies of joining */
    this.joined = [];
    this.shardRequests = 0;
    this.presences = 0;
    /** @type {OnCall} */
    this.onCall = () => ({ reason: 1, retryMs: 50 });
    /** @type {OnShard} */
    this.onShard = () => false;
    this.server = createServer((request, response) => this.route(request, response));
    this.url = '';
  }

  /** @param {string} modelFolder */
  static async start(modelFolder) {
    const scripted = new ScriptedServer(modelFolder);
    scripted.server.listen(0, '127.0.0.1');
    await once(scripted.server, 'listening');
    const address = /** @type {import('node:net').AddressInfo} */ (scripted.server.address());
    scripted.url = `http://127.0.0.1:${address.port}`;
    return scripted;
  }

  async stop() {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  /** @param {Incoming} request @param {Response} response */
  async route(request, response) {
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // the client left in the middle
    }
    const body = Buffer.concat(chunks), url = request.url ?? '';
    const leaf = /^\/v1\/volunteers\/vol_\d+\/(\w+)$/.exec(url)?.[1];

    this.log.push(`${request.method} ${url}`);
    if (url === '/v1/volunteers') {
      this.joined.push(JSON.parse(body.toString()));
      return this.json(response, 201, this.join());
    }
    if (leaf && request.headers.authorization !== `Bearer token-${this.joins}`)
      return this.json(response, 401, { error: { message: 'join again' } });
    const page = new URL(url, 'http://x').pathname;
    if (page === '/contribute' || /^\/assets\/[\w./-]+$/.test(page)) return this.page(page, response);
    if (leaf === 'work') return this.work(body, response);
    if (leaf === 'presence') return this.presence(response);
    if (leaf === 'progress') this.progress.push(JSON.parse(body.toString()));
    if (leaf) return response.writeHead(204).end();
    if (url === '/v1/models')
      return this.json(response, 200, { object: 'list', data: [this.listed()] });
    if (url === `/v1/models/${this.modelId}/manifest.json`) return response.end(this.manifest);
    if (url.startsWith(`/v1/models/${this.modelId}/shards/`)) return this.shard(request, url, response);
    return this.json(response, 404, { error: { message: `no route ${url}` } });
  }

  /** The model, as /v1/models lists it. */
  listed() {
    const { name, shards } = JSON.parse(this.manifest.toString());
    const bytes = shards.reduce((/** @type {number} */ n, /** @type {any} */ s) => n + s.bytes, 0);
    return { id: name, synapse: { model_id: this.modelId, bytes } };
  }

  join() {
    this.joins++;
    return { id: `vol_${this.joins}`, token: `token-${this.joins}`, models: [], wait_ms: 1000, progress_ms: 100 };
  }

  /** @param {Response} response */
  presence(response) {
    this.presences++;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': beat\n\n');
  }

  /** @param {Buffer} body @param {Response} response */
  work(body, response) {
    const call = { ...callInfo(body), body };
    this.calls.push(call);
    this.answer(call, response, this.onCall(call, response));
  }

  /** @param {Call} call @param {Response} response @param {ReturnType<OnCall>} answer */
  answer(call, response, answer) {
    if (answer) response.end(answerFrame(call.number, answer));
  }

  /** The contribute page and all that it loads, from the build. @param {string} url @param {Response} response */
  page(url, response) {
    const file = url === '/contribute' ? 'contribute.html' : url.slice(1);
    const types = { html: 'text/html', mjs: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', wasm: 'application/wasm' };
    const type = /** @type {Record<string, string>} */ (types)[path.extname(file).slice(1)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type });
    response.end(readFileSync(path.join(BUILD, 'web', file)));
  }

  /** @param {Incoming} request @param {string} url @param {Response} response */
  shard(request, url, response) {
    const bytes = readFileSync(path.join(this.modelFolder, path.basename(url)));
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);

    this.shardRequests++;
    if (this.onShard(response, bytes, from, this.shardRequests)) return;
    response.writeHead(from ? 206 : 200, {
      'content-length': bytes.length - from,
      ...(from ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    response.end(bytes.subarray(from));
  }

  /** @param {Response} response @param {number} status @param {object} body */
  json(response, status, body) {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  }
}
