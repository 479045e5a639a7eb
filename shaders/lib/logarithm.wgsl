// logarithm.wgsl - logarithms of integers by the shard's tables, which the
// kernel binds as `tables`: exp2 (4096), log2 (1025), logh (257). The twin of
// volunteer/engine/logarithm.c. Needs fixed.wgsl, wide.wgsl.

const LOG2_AT: u32 = 4096u;
const LOGH_AT: u32 = 5121u;
const LN_2_Q30: i32 = 744261118;

// log2(v) in Q24, v > 0.
fn log_2(v: vec2u) -> i32 {
  let n = wide_bits(v);
  var m: u32; // top bit set
  if (n > 32u) {
    m = wide_shr(v, n - 32u).x;
  } else {
    m = v.x << (32u - n);
  }
  let i = LOG2_AT + ((m >> 21u) & 1023u);
  let f = i32(m & 0x1fffffu);
  return i32((n - 1u) << 24u) + tables[i] + mul_shift(tables[i + 1u] - tables[i], f, 21u);
}

fn log_natural(x: i32) -> i32 {
  return mul_shift(x, LN_2_Q30, 30u);
}

// ln(-ln U) in Q24, where 1 - U = d / 2^33 is at most a half.
fn log_small(d: u32) -> i32 {
  let i = LOGH_AT + (d >> 24u);
  let f = i32(d & 0xffffffu);
  let h = tables[i] + mul_shift(tables[i + 1u] - tables[i], f, 24u);
  return log_natural(log_2(vec2u(d, 0u)) - (33 << 24u)) + h;
}

// -ln(-ln U) in Q16 for U = (2u + 1) / 2^33.
fn gumbel(u: u32) -> i32 {
  var log: i32;
  let v = 2u * u + 1u; // without the top bit of 33
  if (u >= 0x80000000u) {
    log = log_small(0u - v);
  } else {
    let minus = log_natural((33 << 24u) - log_2(vec2u(v, 0u)));
    log = log_natural(log_2(vec2u(u32(minus), 0u)) - (24 << 24u));
  }
  return -round_shift(log, 8u);
}
