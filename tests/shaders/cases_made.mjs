// cases_made.mjs - what kernel_cases.c writes, for tests in Node and in pages.
// SYNAPSE_CASES names a folder of cases where kernel_cases cannot run.
// @ts-check

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { root } from '../web/webgpu_node.mjs';

/** @returns {{dir: string, done: () => void}} the folder, and what removes it if it was made here */
export function makeCases() {
  if (process.env.SYNAPSE_CASES) return { dir: process.env.SYNAPSE_CASES, done: () => {} };
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cases-'));
  execFileSync(path.resolve(root, process.env.SYNAPSE_BUILD ?? 'build/dev', 'tests/shaders/kernel_cases'), [dir]);
  return { dir, done: () => rmSync(dir, { recursive: true }) };
}
