// test_webgpu_kernels.mjs - every kernel gives the bytes of its C twin, on random
// and extreme inputs of odd shapes; those that use subgroups also without them.
// @ts-check

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';

import { GpuHold } from '../../volunteer/web/webgpu_device.mjs';
import { assemble, KERNELS } from '../../volunteer/web/webgpu_shaders.mjs';
import { openGpu, readShader } from '../web/webgpu_node.mjs';
import { makeCases } from './cases_made.mjs';
import { runCases } from './kernel_cases.mjs';

const gpu = openGpu();
const { dir, done } = makeCases();
const blob = new Uint8Array(readFileSync(path.join(dir, 'cases.bin')));
/** @type {import('./kernel_cases.mjs').Case[]} */
const cases = JSON.parse(readFileSync(path.join(dir, 'cases.json'), 'utf8'));
done();

for (const subgroups of [true, false])
  test(`kernels give the bytes of their C twins ${subgroups ? 'with' : 'without'} subgroups`, async () => {
    const hold = await GpuHold.open(gpu, { subgroups });
    assert.equal(hold.info.subgroups, subgroups);
    const sources = await assemble(readShader, subgroups);
    const differ = await assemble(readShader, !subgroups);
    const due = subgroups ? cases : cases.filter((c) => sources.get(c.kernel) !== differ.get(c.kernel));
    const { ran, wrong } = await runCases(hold.device, sources, due, blob);
    assert.deepEqual(wrong, []);
    if (subgroups) assert.deepEqual(Object.keys(ran).sort(), [...KERNELS].sort(), 'no kernel is left out');
    hold.check();
    hold.close();
  });
