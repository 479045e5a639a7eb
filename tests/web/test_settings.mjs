// test_settings.mjs - settings from storage and from a page's address are
// cleaned, and every state has words.
// @ts-check

import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';

import { dispatch } from '../../volunteer/web/messages.mjs';
import { reasonText } from '../../volunteer/web/reasons.mjs';
import { cleanSettings, withQuery } from '../../volunteer/web/settings.mjs';
import { Reason } from '../../volunteer/web/syn1.mjs';

const defaults = cleanSettings({});

test('what is not right takes its default', () => {
  const wrong = [null, 7, 'x', [], { intensity: 99, maxMb: 'much', name: 3, onlyVisible: 'yes', autostart: 1 }];
  for (const settings of wrong) assert.deepEqual(cleanSettings(settings), defaults);
});

test('limits are kept', () => {
  assert.equal(cleanSettings({ maxMb: 1 }).maxMb, 16);
  assert.equal(cleanSettings({ maxMb: 1e9 }).maxMb, 8192);
  assert.equal([...cleanSettings({ name: '🦊'.repeat(50) }).name].length, 40);
});

test('an address can start the page with a name and an intensity', () => {
  const settings = withQuery(defaults, new URLSearchParams('autostart=1&name=Ada%20L&intensity=100&gpu=always'));
  assert.deepEqual(settings, { ...defaults, autostart: true, name: 'Ada L', intensity: 100, gpu: 'always' });
  assert.equal(withQuery(defaults, new URLSearchParams('intensity=7')).intensity, defaults.intensity);
  assert.deepEqual(withQuery(defaults, new URLSearchParams('')), defaults);
});

test('every reason has words, and one that is not known too', () => {
  const texts = Object.values(Reason).map(reasonText);
  for (const text of texts) assert.match(text, /^[A-Z].*\.$/);
  for (const reason of Object.values(Reason))
    if (reason !== Reason.WORK && reason !== Reason.END) assert.notEqual(reasonText(reason), reasonText(999));
});

test('a message of an unknown kind throws', () => {
  const table = { known: () => {} };
  dispatch(table, { kind: 'known' });
  for (const message of [null, undefined, 7, {}, { kind: 'other' }, { kind: 'toString' }, { kind: 3 }])
    assert.throws(() => dispatch(table, message), TypeError);
});

test('pending credit says how much of what waits for what', async () => {
  // The built page: there the modules of all rooms lie in one folder.
  const { pendingWords } = await import(path.resolve(process.env.SYNAPSE_BUILD ?? 'build/dev', 'web/assets/words.mjs'));
  assert.equal(pendingWords([{ reason: 'check', lines: 0, credit: 0 }]), '');
  assert.equal(
    pendingWords([{ reason: 'check', lines: 1, credit: 12 }, { reason: 'later_checks', lines: 2, credit: 34 }]),
    'Pending: 12 credit for 1 line, until recomputed by somebody else; 34 credit for 2 lines, until checks of later work agree.');
  assert.match(pendingWords([{ reason: 'new one', lines: 3, credit: 5 }]), /until confirmed/);
});

test('how hard a device works is a share of its processor: threads first, then pauses', async () => {
  const { effortOf, threadsMost } = await import('../../volunteer/web/effort.mjs');
  /** @type {[number, number, number, number][]} most, percent, threads, duty */
  const table = [[1, 100, 1, 1], [1, 25, 1, 0.25], [2, 25, 1, 0.5], [2, 50, 1, 1], [2, 100, 2, 1], [3, 50, 2, 0.75], [8, 25, 2, 1], [16, 100, 16, 1]];
  for (const [most, percent, threads, duty] of table) assert.deepEqual(effortOf(percent, most), { threads, duty });
  const features = /** @type {any} */ ({ cores: 64, isolated: true });
  assert.equal(threadsMost(features), 16);
  assert.equal(threadsMost({ ...features, isolated: false }), 1);
});
