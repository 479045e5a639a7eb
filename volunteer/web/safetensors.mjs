// @ts-check
// safetensors.mjs - the header of a shard: where each tensor lies in the file.
// Nothing in it is believed before it was checked against the file's size.

/** Bytes an element takes, of the types that shards use (splitter/tensor.h). */
const SIZES = Object.freeze({ I8: 1, U8: 1, I16: 2, I32: 4 });

export const HEADER_MAX = 16 << 20;
export const TENSORS_MAX = 65536;
const NAME_MAX = 63;
const DIMS_MAX = 4;
const ALIGN = 64;
const PAD = 'pad.'; // fillers that keep the tensors after them aligned

/** What is wrong with a shard's header. The message names the tensor. */
export class SafetensorsError extends Error {}

/**
 * @typedef {object} Tensor
 * @property {string} name
 * @property {keyof typeof SIZES} dtype
 * @property {number[]} dims
 * @property {number} offset  from the start of the file
 * @property {number} length  bytes
 */

/**
 * Length of the header that follows the first 8 bytes of a file.
 * @param {Uint8Array} head      at least the file's first 8 bytes
 * @param {number} fileBytes
 * @returns {number}
 */
export function headerLength(head, fileBytes) {
  if (head.length < 8 || fileBytes < 8) throw new SafetensorsError("the file ends inside its header's length");
  const v = new DataView(head.buffer, head.byteOffset, 8);
  const len = v.getUint32(0, true);
  if (v.getUint32(4, true) !== 0 || len > HEADER_MAX) throw new SafetensorsError('the header says it is too long');
  if (8 + len > fileBytes) throw new SafetensorsError('the header reaches past the end of the file');
  return len;
}

/**
 * The tensors of a file, in the order of their bytes, fillers left out.
 * @param {Uint8Array} head      the file's first 8 bytes and its header
 * @param {number} fileBytes
 * @returns {Tensor[]}
 */
export function parseHeader(head, fileBytes) {
  const len = headerLength(head, fileBytes);
  if (head.length < 8 + len) throw new SafetensorsError('the header is not all there');
  const root = parseObject(head.subarray(8, 8 + len));
  const names = Object.keys(root).filter((name) => name !== '__metadata__');
  if (names.length === 0 || names.length > TENSORS_MAX)
    throw new SafetensorsError(`the header names ${names.length} tensors`);
  const tensors = names.map((name) => parseEntry(name, root[name], 8 + len, fileBytes));
  tensors.sort((a, b) => a.offset - b.offset || a.length - b.length);
  for (let i = 1; i < tensors.length; i++) {
    const before = tensors[i - 1];
    if (tensors[i].offset < before.offset + before.length)
      throw new SafetensorsError(`${tensors[i].name} overlaps ${before.name}`);
  }
  return tensors.filter((t) => !t.name.startsWith(PAD));
}

/**
 * @param {Uint8Array} bytes
 * @returns {Record<string, any>}
 */
function parseObject(bytes) {
  let root;
  try {
    root = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new SafetensorsError('the header is not JSON');
  }
  if (!root || typeof root !== 'object' || Array.isArray(root))
    throw new SafetensorsError('the header is not a JSON object');
  return root;
}

/**
 * @param {string} name
 * @param {any} entry
 * @param {number} dataStart
 * @param {number} fileBytes
 * @returns {Tensor}
 */
function parseEntry(name, entry, dataStart, fileBytes) {
  if (name.length === 0 || name.length > NAME_MAX || !/^[\x21-\x7e]+$/.test(name))
    throw new SafetensorsError(`a tensor's name is bad: ${name.slice(0, 80)}`);
  const { dtype, shape, data_offsets: offsets } = entry ?? {};
  if (typeof dtype !== 'string' || !Object.hasOwn(SIZES, dtype))
    throw new SafetensorsError(`${name} has a type that is not known`);
  if (!Array.isArray(shape) || shape.length < 1 || shape.length > DIMS_MAX || !shape.every(isCount))
    throw new SafetensorsError(`${name} has a bad shape`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
    throw new SafetensorsError(`${name} has bad offsets`);
  const [from, to] = offsets;
  const length = shape.reduce((n, d) => n * d, SIZES[/** @type {keyof typeof SIZES} */ (dtype)]);
  if (!Number.isSafeInteger(length) || to - from !== length)
    throw new SafetensorsError(`${name}'s offsets do not fit its shape`);
  if (dataStart + to > fileBytes) throw new SafetensorsError(`${name} reaches past the end of the file`);
  if ((dataStart + from) % ALIGN && !name.startsWith(PAD)) throw new SafetensorsError(`${name} is not aligned to ${ALIGN} bytes`);
  return { name, dtype: /** @type {keyof typeof SIZES} */ (dtype), dims: shape, offset: dataStart + from, length };
}

/** @param {any} n */
function isCount(n) {
  return Number.isSafeInteger(n) && n >= 0 && !Object.is(n, -0);
}
