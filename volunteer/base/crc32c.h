// crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4; polynomial
// 0x1EDC6F41 reflected), which guards every SYN1 frame.
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

// The checksum of len bytes at buf. crc32c("123456789") is 0xE3069283.
uint32_t crc32c(const void *buf, size_t len);

#endif
