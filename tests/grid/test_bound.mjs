// test_bound.mjs - a volunteer that may use so many bytes: its whole process,
// beyond what it takes when it holds nothing, never has more in memory, while
// it takes spans in turn and computes on them.
// @ts-check

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

// What the sanitizers keep of freed memory is not the volunteer's. Set before
// grid.mjs looks at the environment.
process.env.ASAN_OPTIONS = 'quarantine_size_mb=0';
const { ROOT, synapseOk, until } = await import('./grid.mjs');
const { PartHost, nativeFor, shardsOf } = await import('./parts.mjs');

const BOUND = 34 << 20, SHARDS = 6, WIDTH = 640;
const SHAPE = ['--layers', '6', '--width', String(WIDTH), '--heads', '10', '--vocab', '2048', '--context', '256'];
const folder = mkdtempSync(path.join(tmpdir(), 'synapse-bound-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The most that a process ever had in memory, bytes. @param {number | undefined} pid */
function mostOf(pid) {
  const kb = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  assert.ok(kb);
  return Number(kb) * 1024;
}

test('a whole process keeps to its bytes, whichever spans it holds and computes', async () => {
  const source = path.join(folder, 'hf'), model = path.join(folder, 'model');
  execFileSync(process.execPath, [path.join(ROOT, 'ops/bench/make_model.mjs'), source, ...SHAPE], { stdio: 'ignore' });
  await synapseOk(['split', source, model, '--shards', String(SHARDS)]);
  const bytes = (/** @type {number} */ first, /** @type {number} */ end) =>
    shardsOf(model).slice(first, end).reduce((/** @type {number} */ n, /** @type {{bytes: number}} */ s) => n + s.bytes, 0);
  assert.ok(bytes(0, SHARDS) > BOUND / 1.2, 'the model is nearly the bound');

  const host = await PartHost.start(model);
  const volunteer = nativeFor(host, folder, 'bound', ['--memory', String(BOUND)]);
  try {
    await until(() => host.server.calls.length > 0, 'call');
    const idle = mostOf(volunteer.child.pid);
    const rows = Array.from({ length: 48 }, () => Buffer.alloc(WIDTH + WIDTH / 32));
    let id = 1n, least = Infinity;
    for (const [first, end] of [[1, 2], [2, 4], [4, 5], [1, 5], [2, 3]]) {
      await host.hold(first, end);
      for (let i = 0; i < 6; i++) {
        const seqs = Array.from({ length: 8 }, () => ({ id: id++, first: 0, rows }));
        await host.compute({ first, end, seqs });
      }
      least = Math.min(least, host.server.calls.at(-1)?.memory ?? 0);
    }
    const most = mostOf(volunteer.child.pid) - idle;
    assert.ok(least < BOUND / 2, `the bound was not nearly reached: ${least} bytes were free at the least`);
    assert.ok(most > bytes(1, 5), 'spans are in memory');
    assert.ok(most <= BOUND, `${most} bytes beyond the idle process's ${idle}, ${BOUND} are allowed`);
  } finally {
    await volunteer.stop('SIGKILL');
    await host.stop();
  }
});
