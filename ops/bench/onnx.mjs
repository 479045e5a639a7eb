// onnx.mjs - the smallest ONNX model there is: one MatMulInteger with constant
// int8 weights, for timing onnxruntime-web's integer product. Field numbers are
// those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
// @ts-check

const UINT8 = 2, INT8 = 3, INT32 = 6; // TensorProto.DataType
const VARINT = 0, BYTES = 2; // protobuf wire types

/** @param {number} v @returns {number[]} */
function varint(v) {
  const out = [];
  for (; v > 127; v = Math.floor(v / 128)) out.push((v % 128) | 128);
  return [...out, v];
}

/** A message from [field number, value] pairs; a value is a number, a text,
 * bytes or the bytes of another message.
 * @param {...[number, number | string | Uint8Array]} fields */
function message(...fields) {
  const parts = fields.map(([field, value]) => {
    if (typeof value === 'number') return Buffer.from([...varint(field * 8 + VARINT), ...varint(value)]);
    const data = Buffer.from(value);
    return Buffer.concat([Buffer.from([...varint(field * 8 + BYTES), ...varint(data.length)]), data]);
  });
  return Buffer.concat(parts);
}

/** @param {string} name @param {number} type @param {number[]} dims */
function valueInfo(name, type, dims) {
  const shape = message(...dims.map((d) => /** @type {[number, Buffer]} */ ([1, message([1, d])])));
  return message([1, name], [2, message([1, message([1, type], [2, shape])])]);
}

/**
 * y (rows, n) i32 = a (rows, k) u8 * b (k, n) i8.
 * @param {number} rows @param {number} k @param {number} n
 * @returns {Uint8Array} a ModelProto
 */
export function matMulInteger(rows, k, n) {
  const weights = Buffer.from(Array.from({ length: k * n }, (_, i) => ((i * 7919) % 253) & 255));
  const initializer = message([1, k], [1, n], [2, INT8], [8, 'b'], [9, weights]);
  const node = message([1, 'a'], [1, 'b'], [2, 'y'], [4, 'MatMulInteger']);
  const graph = message(
    [1, node],
    [2, 'bench'],
    [5, initializer],
    [11, valueInfo('a', UINT8, [rows, k])],
    [12, valueInfo('y', INT32, [rows, n])],
  );
  return message([1, 8], [7, graph], [8, message([2, 13])]);
}
