// address.h - network addresses: whose they are, and who may be called.
#ifndef API_ADDRESS_H
#define API_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum { API_BLOCK_TEXT_MAX = 48 };

// An IPv4 address is kept as ::ffff:a.b.c.d, so there is one kind.
struct api_address {
    uint8_t bytes[16];
};

struct api_cidr {
    struct api_address base;
    unsigned n_bits; // 0 .. 128
};

// From a socket address. False if it is neither IPv4 nor IPv6.
MUST_USE bool api_address_from(const struct sockaddr *sa,
                               struct api_address *out);

// From text without brackets or port, "192.0.2.1" or "2001:db8::1".
MUST_USE bool api_address_parse(const char *text, struct api_address *out);

// "10.0.0.0/8", "fd00::/8" or a plain address. Bits past the length are
// cleared. ERR_FORMAT if it is something else.
MUST_USE enum err api_cidr_parse(const char *text, struct api_cidr *out);

bool api_cidr_has(const struct api_cidr *cidr, const struct api_address *a);

// True if the public internet cannot reach it: loopback, private, link-local,
// shared, multicast, documentation, benchmark and reserved ranges, and IPv6
// forms that carry such an IPv4 address inside (mapped, 6to4, NAT64, Teredo).
bool api_address_is_private(const struct api_address *a);

// Its block as text, a.b.c.0/24 or the first 48 bits of an IPv6 address.
void api_address_block(const struct api_address *a,
                       char out[API_BLOCK_TEXT_MAX]);

#endif
