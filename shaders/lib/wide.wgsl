// wide.wgsl - 64-bit integers as (low, high) words, two's complement where
// signed: the named helpers of fixed.h that need them. Needs fixed.wgsl.

fn wide_of(v: i32) -> vec2u {
  return vec2u(u32(v), u32(v >> 31u));
}

fn wide_add(a: vec2u, b: vec2u) -> vec2u {
  let low = a.x + b.x;
  return vec2u(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn wide_neg(a: vec2u) -> vec2u {
  return wide_add(vec2u(~a.x, ~a.y), vec2u(1u, 0u));
}

fn wide_less(a: vec2u, b: vec2u) -> bool { // unsigned
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// The whole product, by limbs of 16 bits.
fn wide_mul_u(a: u32, b: u32) -> vec2u {
  let al = a & 0xffffu;
  let ah = a >> 16u;
  let bl = b & 0xffffu;
  let bh = b >> 16u;
  let p0 = al * bl;
  let mid = al * bh + (p0 >> 16u);
  let mid2 = ah * bl + (mid & 0xffffu);
  return vec2u((mid2 << 16u) | (p0 & 0xffffu), ah * bh + (mid >> 16u) + (mid2 >> 16u));
}

fn wide_mul(a: i32, b: i32) -> vec2u {
  let p = wide_mul_u(u32(a), u32(b));
  return vec2u(p.x, p.y - select(0u, u32(b), a < 0) - select(0u, u32(a), b < 0));
}

// Arithmetic shift right by 0 .. 63.
fn wide_sar(v: vec2u, s: u32) -> vec2u {
  let high = i32(v.y);
  if (s == 0u) {
    return v;
  }
  if (s < 32u) {
    return vec2u((v.x >> s) | (v.y << (32u - s)), u32(high >> s));
  }
  return vec2u(u32(high >> (s - 32u)), u32(high >> 31u));
}

// Shift right of an unsigned value by 0 .. 63.
fn wide_shr(v: vec2u, s: u32) -> vec2u {
  if (s == 0u) {
    return v;
  }
  if (s < 32u) {
    return vec2u((v.x >> s) | (v.y << (32u - s)), v.y >> s);
  }
  return vec2u(v.y >> (s - 32u), 0u);
}

// Shift left by 0 .. 31.
fn wide_shl(v: vec2u, s: u32) -> vec2u {
  if (s == 0u) {
    return v;
  }
  return vec2u(v.x << s, (v.y << s) | (v.x >> (32u - s)));
}

// v / 2^s rounded half up, s 0 .. 63; signed.
fn wide_round_sar(v: vec2u, s: u32) -> vec2u {
  if (s == 0u) {
    return v;
  }
  return wide_sar(wide_add(wide_sar(v, s - 1u), vec2u(1u, 0u)), 1u);
}

// v / 2^s rounded half up, 0 from 64 on; unsigned.
fn wide_round_shr(v: vec2u, s: u32) -> vec2u {
  if (s == 0u) {
    return v;
  }
  if (s >= 64u) {
    return vec2u(0u, 0u);
  }
  return wide_shr(wide_add(wide_shr(v, s - 1u), vec2u(1u, 0u)), 1u);
}

// A signed value saturated to +-VALUE_MAX.
fn wide_sat(v: vec2u) -> i32 {
  if (v.y != u32(i32(v.x) >> 31u)) {
    return select(VALUE_MAX, -VALUE_MAX, (v.y >> 31u) == 1u);
  }
  return sat(i32(v.x));
}

// a * b / 2^s, exact, rounded once half up, saturated; s is 0 .. 62.
fn mul_shift(a: i32, b: i32, s: u32) -> i32 {
  return wide_sat(wide_round_sar(wide_mul(a, b), s));
}

fn wide_bits(v: vec2u) -> u32 {
  return select(bits(v.x), 32u + bits(v.y), v.y != 0u);
}

// n / d rounded half up, for d of 1 .. 65536: four digits of 16 bits.
fn wide_div(n: vec2u, d: u32) -> vec2u {
  var rest = n.y >> 16u;
  let q3 = rest / d;
  rest = ((rest % d) << 16u) | (n.y & 0xffffu);
  let q2 = rest / d;
  rest = ((rest % d) << 16u) | (n.x >> 16u);
  let q1 = rest / d;
  rest = ((rest % d) << 16u) | (n.x & 0xffffu);
  let q0 = rest / d;
  rest = rest % d;
  let q = vec2u((q1 << 16u) | q0, (q3 << 16u) | q2);
  return wide_add(q, vec2u(select(0u, 1u, rest >= d - rest), 0u));
}
