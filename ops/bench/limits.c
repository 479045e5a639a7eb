// limits.c - what a browser can do at most, for comparison with what the engine
// does: products in registers alone, and plain reading. A module without
// imports; call each function often with small counts, so that V8 compiles it
// well.
#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

enum { CHAINS = 8, LANES = 16 };

// Both give a sum that depends on all they did, so that nothing is left out.
int32_t limits_dot(uint32_t rounds);
int32_t limits_pairs(uint32_t rounds);
uint32_t limits_read(const uint8_t *p, size_t len);

static int32_t total(const v128_t sum[CHAINS])
{
    v128_t all = sum[0];

    for (int i = 1; i < CHAINS; i++)
        all = wasm_i32x4_add(all, sum[i]);
    return wasm_i32x4_extract_lane(all, 0);
}

// rounds * 8 * 16 multiply-adds by the 32-bit relaxed dot product.
__attribute__((export_name("dot"))) int32_t limits_dot(uint32_t rounds)
{
    v128_t a = wasm_i8x16_splat(3), w = wasm_i8x16_splat(5);
    v128_t sum[CHAINS];

    for (int i = 0; i < CHAINS; i++)
        sum[i] = wasm_i32x4_splat(i);
    for (; rounds; rounds--) {
        for (int i = 0; i < CHAINS; i++)
            sum[i] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, w, sum[i]);
        a = wasm_v128_xor(a, w); // or the products would be made once
    }
    return total(sum);
}

// The same by the 16-bit product and a product with ones.
__attribute__((export_name("pairs"))) int32_t limits_pairs(uint32_t rounds)
{
    const v128_t ones = wasm_i16x8_splat(1);
    v128_t a[CHAINS], w = wasm_i8x16_splat(5), sum[CHAINS];

    for (int i = 0; i < CHAINS; i++) {
        a[i] = wasm_i8x16_splat((int8_t)i);
        sum[i] = wasm_i32x4_splat(i);
    }
    for (; rounds; rounds--) {
        for (int i = 0; i < CHAINS; i++)
            sum[i] = wasm_i32x4_add(
                sum[i], wasm_i32x4_dot_i16x8(
                            wasm_i16x8_relaxed_dot_i8x16_i7x16(a[i], w), ones));
        w = wasm_v128_xor(w, ones);
    }
    return total(sum);
}

// Read len bytes (a multiple of 64) at p, which is aligned to 16. Write them
// first: pages that were never written are all one page of zeros.
__attribute__((export_name("read"))) uint32_t limits_read(const uint8_t *p,
                                                          size_t len)
{
    v128_t sum[4] = {wasm_i8x16_splat(0), wasm_i8x16_splat(0),
                     wasm_i8x16_splat(0), wasm_i8x16_splat(0)};

    for (const uint8_t *end = p + len; p != end; p += 4 * LANES)
        for (int i = 0; i < 4; i++)
            sum[i] = wasm_i8x16_add(sum[i], wasm_v128_load(p + LANES * i));
    return (uint32_t)wasm_i32x4_extract_lane(
        wasm_v128_xor(wasm_v128_xor(sum[0], sum[1]),
                      wasm_v128_xor(sum[2], sum[3])),
        0);
}
