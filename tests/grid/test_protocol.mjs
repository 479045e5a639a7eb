// test_protocol.mjs - work calls that repeat, come late, lie or are no frames:
// what the server does with them, and that no line suffers.
// @ts-check

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { Outcome, Reason, unitInfo } from '../../volunteer/web/syn1.mjs';
import { resultFrame, unitFrame, unitSeqs } from './frames.mjs';
import { Grid, answerOf, runLocal, until } from './grid.mjs';
import { RawVolunteer } from './raw_volunteer.mjs';

/** @type {import('./grid.mjs').Request[]} */
const requests = ['Once upon a time', 'The king said', 'In the forest', 'A little girl']
  .map((prompt, i) => ({ custom_id: `line-${i}`, prompt, max_tokens: 8, temperature: 0 }));
/** @type {any[]} */
let truth;
/** @type {Grid} */
let grid;
/** @type {RawVolunteer} */
let raw;
/** @type {string} */
let batch;
/** @type {Set<() => Promise<unknown>>} */
let endings = new Set();

before(async () => {
  truth = await Promise.all(requests.map(runLocal));
  grid = await Grid.start();
});
after(() => grid.stop());
beforeEach(async () => {
  for (const end of endings) await end();
  endings = new Set();
  raw = await join('raw');
});

/** @param {string} name */
async function join(name) {
  const one = await RawVolunteer.join(grid.url, name);
  endings.add(() => one.leave());
  return one;
}

/** Take the unit of a new batch's lines.
 * @param {RawVolunteer} volunteer */
async function takeUnit(volunteer) {
  batch = (await grid.submit(requests)).id;
  const { answer } = await volunteer.call(1, { waitMs: 10_000 });
  assert.ok(answer?.unit, 'a unit came');
  return answer.unit;
}

/** Let an honest volunteer finish the batch; its lines must be right. */
async function finishRight() {
  const ada = grid.volunteer('Ada');
  try {
    await grid.finished(batch, 60_000);
    const lines = new Map((await grid.results(batch)).map((line) => [line.custom_id, line]));
    requests.forEach((request, i) => {
      const { text, tokens, finish_reason } = truth[i];
      assert.deepEqual(answerOf(lines.get(request.custom_id)), { text, tokens, finish_reason });
    });
  } finally {
    await ada.stop();
  }
}

/** A well-formed result for a unit, with a made-up token for each that is asked for.
 * @param {Uint8Array} unit @param {(asked: number) => number[]} tokensOf @param {string} [id] */
function resultOf(unit, tokensOf, id) {
  const info = unitInfo(unit);
  return resultFrame({
    model: info.model,
    unit: id ?? info.id,
    seqs: unitSeqs(unit).map(({ seq, epoch, first, nPredict, maxNew }) =>
      ({ seq, epoch, first, tokens: tokensOf(nPredict + maxNew) })),
  });
}
const someTokens = (/** @type {number} */ n) => Array.from({ length: n }, (_, i) => 300 + i);

test('a repeated work call gets the same answer and takes nothing more', async () => {
  const unit = await takeUnit(raw);
  const again = await raw.call(1, { waitMs: 0 });
  assert.equal(again.status, 200);
  assert.deepEqual(again.answer?.unit, unit);
  const third = await raw.call(1, { waitMs: 0 });
  assert.deepEqual(third.bytes, again.bytes);

  const next = await raw.call(2, { held: [unitInfo(unit).id] });
  assert.equal(next.status, 200);
  const old = await raw.call(1);
  assert.equal(old.status, 409);
  assert.match(old.error.message, /higher number/);
  await raw.leave();
  await finishRight();
});

test('a repeated call with a result counts once', async () => {
  const unit = await takeUnit(raw);
  const result = resultOf(unit, someTokens);
  const first = await raw.call(2, { result, slots: 0 });
  assert.equal(first.answer?.outcome, Outcome.ACCEPTED);
  const rows = async () => (await grid.ask(`/v1/batches/${batch}`)).synapse.tokens;
  const tokens = await rows();
  const second = await raw.call(2, { result, slots: 0 });
  assert.equal(second.status, 200);
  assert.equal(second.answer?.outcome, Outcome.ACCEPTED, 'the answer is remembered');
  assert.equal(await rows(), tokens, 'nothing was added twice');
  const other = await raw.call(3, { result, slots: 0 });
  assert.equal(other.status, 410, 'under another number it is late');
  await raw.leave();
  await finishRight();
});

test('nobody can post a result for a unit that another holds, or that nobody does', async () => {
  const unit = await takeUnit(raw);
  const thief = await join('thief');
  const stolen = await thief.call(1, { result: resultOf(unit, someTokens), slots: 0 });
  assert.equal(stolen.status, 410);
  assert.equal(stolen.answer?.outcome, Outcome.GONE);
  const invented = await thief.call(2, { result: resultOf(unit, someTokens, 'ab'.repeat(16)), slots: 0 });
  assert.equal(invented.status, 410);
  await thief.leave();
  await raw.leave();
  await finishRight();
});

test('a late result is taken while its rows are free', async () => {
  // The first lease is long; once the server has seen a result, it is short.
  const first = await takeUnit(raw);
  const next = await raw.call(2, { result: resultOf(first, someTokens), waitMs: 5000 });
  const unit = next.answer?.unit;
  assert.ok(unit, 'its lines go on');
  await until(async () => (await grid.ask(`/v1/batches/${batch}`)).synapse.running === 0, 'end of the lease', 30_000);
  const late = await raw.call(3, { result: resultOf(unit, someTokens), slots: 0 });
  assert.equal(late.status, 200);
  assert.equal(late.answer?.outcome, Outcome.ACCEPTED);
  await raw.leave();
  await finishRight(); // what it made up is found out
});

test('a result is refused for a unit that was given back or went to another', async () => {
  const unit = await takeUnit(raw);
  // A call that does not list the unit gives it back; with no slots, none comes.
  const idle = await raw.call(2, { slots: 0 });
  assert.equal(idle.answer?.unit, null);
  const late = await raw.call(3, { result: resultOf(unit, someTokens), slots: 0 });
  assert.equal(late.status, 410);
  const other = await join('other');
  const taken = await other.call(1, { waitMs: 5000 });
  assert.ok(taken.answer?.unit, 'another has the rows now');
  const refused = await raw.call(4, { result: resultOf(unit, someTokens), slots: 0 });
  assert.equal(refused.status, 410);
  assert.equal(refused.answer?.outcome, Outcome.GONE);
  await other.leave();
  await raw.leave();
  await finishRight();
});

test('results that lie about their shape are refused', async () => {
  /** @type {[string, (unit: Uint8Array) => Uint8Array][]} */
  const lies = [
    ['a token past the vocabulary', (unit) => resultOf(unit, (n) => Array(n).fill(1 << 30))],
    ['more tokens than asked for', (unit) => resultOf(unit, (n) => someTokens(n + 1))],
    ['another sequence', (unit) => resultFrame({
      model: unitInfo(unit).model,
      unit: unitInfo(unit).id,
      seqs: unitSeqs(unit).map((s) => ({ seq: s.seq + 1n, epoch: s.epoch, first: s.first, tokens: [300] })),
    })],
  ];
  await raw.leave();
  for (const [what, make] of lies) {
    const liar = await join('liar');
    const unit = await takeUnit(liar);
    const reply = await liar.call(2, { result: make(unit), slots: 0 });
    assert.equal(reply.status, 410, what);
    await liar.leave();
    await finishRight();
  }
});

test('what is no call frame is refused by name and changes nothing', async () => {
  const unit = await takeUnit(raw);
  const held = [unitInfo(unit).id];
  const good = raw.frame(2, { held });
  const flipped = good.slice();
  flipped[40] ^= 1;
  /** @type {[string, Uint8Array<ArrayBuffer>][]} */
  const bodies = [
    ['nothing', new Uint8Array(0)],
    ['text', new Uint8Array(Buffer.from('{"hello": 1}'))],
    ['half a frame', good.slice(0, good.length / 2)],
    ['a wrong checksum', flipped],
    ['bytes behind the frame', new Uint8Array(Buffer.concat([good, Buffer.alloc(3)]))],
    ['a unit instead of a call', new Uint8Array(unitFrame({ model: 'aa'.repeat(16), unit: 'bb'.repeat(16), seq: 1n, tokens: [1], maxNew: 1 }))],
    ['a call whose result is no result', raw.frame(2, { held, result: unit })],
    ['a call whose result is broken', raw.frame(2, { held, result: resultOf(unit, someTokens).subarray(0, 90) })],
    ['number 0', raw.frame(0, { held })],
  ];
  for (const [what, body] of bodies) {
    const reply = await raw.post(body);
    assert.equal(reply.status, 400, what);
    assert.equal(reply.error?.type, 'invalid_request_error', what);
    assert.ok(reply.error?.message, what);
  }
  const stranger = await raw.post(good, { token: 'ff'.repeat(32) });
  assert.equal(stranger.status, 401);
  assert.equal((await raw.post(good, { id: 'vol_00' })).status, 401);
  const still = await raw.post(good);
  assert.equal(still.status, 200, 'the number is still free, the unit still held');
  await raw.leave();
  await finishRight();
});

test('a newer call ends the held one, and work wakes a held call', async () => {
  const parked = raw.call(1, { waitMs: 25_000 });
  await until(async () => (await grid.ask('/v1/stats')).volunteers.some(
    (/** @type {any} */ v) => v.name === 'raw' && v.state === 'waiting'), 'held call');
  const newer = raw.call(2, { waitMs: 20_000 }); // alone, it would come back before the older one
  assert.equal(await Promise.race([parked.then(() => 'older'), newer.then(() => 'newer')]), 'older');
  assert.equal((await parked).answer?.unit ?? null, null);
  batch = (await grid.submit(requests)).id;
  assert.equal((await newer).answer?.reason, Reason.WORK, 'it was woken by the batch');
  await raw.leave();
  await finishRight();
});

test('a volunteer whose presence closes loses its work within the grace', async () => {
  await takeUnit(raw);
  raw.presence.abort();
  const other = await join('other');
  let number = 0;
  await until(async () => (await other.call(++number, { waitMs: 500 })).answer?.unit, 'unit of the one that went', 15_000);
  assert.equal((await raw.call(2)).status, 401, 'its token means nothing any more');
  await other.leave();
  await finishRight();
});
