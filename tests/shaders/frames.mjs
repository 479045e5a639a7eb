// frames.mjs - the models and frames of the committed digest, as digest_frames.c
// writes them. SYNAPSE_FRAMES names a folder of them where it cannot run.
// @ts-check

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { root } from '../web/webgpu_node.mjs';

/** @typedef {import('../../volunteer/web/messages.mjs').ShardBlob} ShardBlob */

/** @returns {import('../../volunteer/web/shard_fetch.mjs').Hasher} */
export function newHasher() {
  const hash = createHash('sha256');
  return { update: (b) => void hash.update(b), hex: () => hash.digest('hex') };
}

/** @returns {{dir: string, done: () => void}} the folder, and what removes it if it was made here */
export function makeFrames() {
  if (process.env.SYNAPSE_FRAMES) return { dir: process.env.SYNAPSE_FRAMES, done: () => {} };
  const dir = mkdtempSync(path.join(os.tmpdir(), 'frames-'));
  execFileSync(path.resolve(root, process.env.SYNAPSE_BUILD ?? 'build/dev', 'tests/shaders/digest_frames'), [dir]);
  return { dir, done: () => rmSync(dir, { recursive: true }) };
}

/**
 * What is called `kind`-0, `kind`-1 and so on, of a model.
 * @param {string} dir
 * @param {number} model
 * @param {'shard'|'unit'|'result'} kind
 */
export function readAll(dir, model, kind) {
  const all = [];
  const at = (/** @type {number} */ i) => path.join(dir, String(model), `${kind}-${i}`);
  for (let i = 0; existsSync(at(i)); i++) all.push(new Uint8Array(readFileSync(at(i))));
  return all;
}

/**
 * @param {string} dir
 * @param {number} model
 * @returns {ShardBlob[]}
 */
export function readShards(dir, model) {
  return readAll(dir, model, 'shard').map((bytes, k) => {
    const hash = newHasher();
    hash.update(bytes);
    return { name: `shard-${k}`, blob: new Blob([bytes]), sha256: hash.hex() };
  });
}
