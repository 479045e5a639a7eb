// @ts-check
// crc32c.mjs - CRC-32C (Castagnoli, reflected), which guards every SYN1 frame.
// The twin of volunteer/base/crc32c.h.

const TABLE = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  TABLE[i] = c;
}

/**
 * The checksum of all of bytes, as an unsigned number. Of the ASCII digits
 * "123456789" it is 0xE3069283.
 * @param {Uint8Array} bytes
 * @returns {number}
 */
export function crc32c(bytes) {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = TABLE[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}
