// fixed.wgsl - the twin of volunteer/engine/fixed.h: one meaning for every
// operation, on every GPU. No operator here shifts by more than 31.
//
// WGSL has no include: the host puts the files of lib/ that a kernel's header
// names in front of it, in that order (volunteer/web/webgpu_shaders.mjs).

const VALUE_MAX: i32 = 1073741823; // 2^30 - 1: where every value saturates

fn sat(v: i32) -> i32 {
  return clamp(v, -VALUE_MAX, VALUE_MAX);
}

// v / 2^s, rounded half up; from 32 on the answer is 0.
fn round_shift(v: i32, s: u32) -> i32 {
  if (s == 0u) {
    return v;
  }
  if (s >= 32u) {
    return 0;
  }
  return ((v >> (s - 1u)) + 1) >> 1u;
}

// |v|; right for the lowest i32 too.
fn abs_u(v: i32) -> u32 {
  return select(u32(v), 0u - u32(v), v < 0);
}

// v * 2^s, saturated.
fn left_shift(v: i32, s: u32) -> i32 {
  if (v == 0) {
    return 0;
  }
  if (s >= 31u || abs_u(v) > (u32(VALUE_MAX) >> s)) {
    return select(VALUE_MAX, -VALUE_MAX, v < 0);
  }
  return v << s;
}

// v * 2^s for s of either sign, saturated.
fn shift(v: i32, s: i32) -> i32 {
  if (s >= 0) {
    return left_shift(v, u32(s));
  }
  return sat(round_shift(v, u32(-s)));
}

// Bits of v: 0 for 0, else 1 + floor(log2 v).
fn bits(v: u32) -> u32 {
  return 32u - countLeadingZeros(v);
}

// The exponent that brings values up to max into int8.
fn int8_exp(max: u32) -> u32 {
  let b = bits(max);
  return select(0u, b - 7u, b > 7u);
}

fn int8_of(v: i32, e: u32) -> i32 {
  return clamp(round_shift(v, e), -127, 127);
}

fn int8_of4(v: vec4i, e: u32) -> vec4i {
  return vec4i(int8_of(v.x, e), int8_of(v.y, e), int8_of(v.z, e), int8_of(v.w, e));
}

fn max_abs4(v: vec4i) -> u32 {
  return max(max(abs_u(v.x), abs_u(v.y)), max(abs_u(v.z), abs_u(v.w)));
}
