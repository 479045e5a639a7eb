// test_safetensors.mjs - a shard's header is believed only where it adds up.
// @ts-check

import assert from 'node:assert/strict';
import test from 'node:test';

import { SafetensorsError, headerLength, parseHeader } from '../../volunteer/web/safetensors.mjs';

/**
 * A file's head: length, JSON padded so that data is aligned to 64.
 * @param {any} header  an object, or text
 */
function head(header) {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const padded = text.padEnd(Math.ceil((text.length + 8) / 64) * 64 - 8);
  const bytes = new Uint8Array(8 + padded.length);
  new DataView(bytes.buffer).setUint32(0, padded.length, true);
  bytes.set(new TextEncoder().encode(padded), 8);
  return bytes;
}

const GOOD = {
  __metadata__: { format: 'synapse' },
  a: { dtype: 'I8', shape: [2, 3], data_offsets: [0, 6] },
  b: { dtype: 'I32', shape: [4], data_offsets: [64, 80] },
};

test('a good header gives tensors in file order', () => {
  const bytes = head({ b: GOOD.b, a: GOOD.a });
  const size = bytes.length + 80;
  assert.deepEqual(parseHeader(bytes, size), [
    { name: 'a', dtype: 'I8', dims: [2, 3], offset: bytes.length, length: 6 },
    { name: 'b', dtype: 'I32', dims: [4], offset: bytes.length + 64, length: 16 },
  ]);
});

test('metadata is not a tensor', () => {
  assert.equal(parseHeader(head(GOOD), 10000).length, 2);
});

test('fillers are left out, and need no alignment', () => {
  const bytes = head({ ...GOOD, 'pad.0': { dtype: 'U8', shape: [58], data_offsets: [6, 64] } });
  assert.deepEqual(parseHeader(bytes, bytes.length + 80).map((t) => t.name), ['a', 'b']);
});

test('a file that ends early is refused at every length', () => {
  const bytes = head(GOOD);
  for (let len = 0; len < bytes.length; len++)
    assert.throws(() => parseHeader(bytes.slice(0, len), 10000), SafetensorsError, `head of ${len} bytes`);
  for (let size = 0; size < bytes.length + 80; size++)
    assert.throws(() => parseHeader(bytes, size), SafetensorsError, `file of ${size} bytes`);
});

test('a header length that lies is refused', () => {
  for (const word of [[0, 0, 0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0], [255, 255, 255, 255, 255, 255, 255, 255]])
    assert.throws(() => headerLength(Uint8Array.from(word), 1e12), SafetensorsError);
});

test('entries that do not add up are refused', () => {
  const entry = { dtype: 'I8', shape: [2, 3], data_offsets: [0, 6] };
  const wrong = {
    'no such type': { ...entry, dtype: 'F32' },
    'a type of the prototype': { ...entry, dtype: 'toString' },
    'no type': { ...entry, dtype: undefined },
    'no shape': { ...entry, shape: null },
    'empty shape': { ...entry, shape: [], data_offsets: [0, 1] },
    'five dimensions': { ...entry, shape: [1, 1, 1, 2, 3] },
    'negative dimension': { ...entry, shape: [-2, -3] },
    'half a dimension': { ...entry, shape: [2.5, 2.4] },
    'huge dimensions': { ...entry, shape: [2 ** 40, 2 ** 40] },
    'no offsets': { ...entry, data_offsets: undefined },
    'one offset': { ...entry, data_offsets: [6] },
    'offsets that do not fit': { ...entry, data_offsets: [0, 7] },
    'offsets backwards': { ...entry, data_offsets: [6, 0] },
    'offset that is text': { ...entry, data_offsets: ['0', '6'] },
    'past the end': { ...entry, data_offsets: [6400, 6406] },
    'not aligned': { ...entry, data_offsets: [1, 7] },
    'not an object': 7,
  };
  for (const [name, bad] of Object.entries(wrong))
    assert.throws(() => parseHeader(head({ t: bad }), 1000), SafetensorsError, name);
});

test('overlapping tensors, bad names and what is not JSON are refused', () => {
  const entry = { dtype: 'I8', shape: [100], data_offsets: [0, 100] };
  const over = { dtype: 'I8', shape: [4], data_offsets: [64, 68] };
  assert.throws(() => parseHeader(head({ a: entry, b: over }), 10000), /b overlaps a/);
  assert.throws(() => parseHeader(head({ [`n${'x'.repeat(63)}`]: entry }), 10000), SafetensorsError);
  assert.throws(() => parseHeader(head({ 'sp ace': entry }), 10000), SafetensorsError);
  for (const text of ['', '[]', 'null', '{', '7', '{}', '{"__metadata__": {}}'])
    assert.throws(() => parseHeader(head(text), 10000), SafetensorsError, text);
});
