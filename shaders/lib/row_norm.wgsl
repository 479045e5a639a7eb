// row_norm.wgsl - a row of the residual through LayerNorm or RMSNorm into int8,
// in workgroup memory: each workgroup of a product makes it again, which costs
// less than a dispatch.
//
//   x       (T, G * 16) vec4i: the residual, zeros past C
//   consts  gain (C, then zeros up to 64 G), and bias likewise where CENTRE is 1
//
// The kernel has G, WG and consts. C is at most 16 WG. Reference: engine_norm_ref
// (norm.c), then engine_quantise_ref. Needs fixed.wgsl, wide.wgsl, fold.wgsl.

override C: u32;
override CENTRE: u32; // LayerNorm, else RMSNorm
override EPS_LOW: u32;
override EPS_HIGH: u32;

@group(0) @binding(3) var<storage, read> x: array<vec4i>;

var<workgroup> norm_low: atomic<u32>; // sums of halves of 16 bits
var<workgroup> norm_high: atomic<u32>;
var<workgroup> norm_top: atomic<u32>;
var<workgroup> norm_top2: atomic<u32>;
var<workgroup> norm_limbs: array<atomic<u32>, 3>; // of 22, 22 and 20 bits
var<workgroup> norm_max: atomic<u32>;
var<workgroup> norm_tops: array<atomic<u32>, G>;
var<workgroup> norm_words: array<u32, G * 17>; // 16 a group, and one between

struct Factor {
  inv: i32,
  shift: u32,
}

fn factor_of(sum: vec2u, s: u32) -> Factor {
  var v = wide_add(wide_div(sum, C), wide_round_shr(vec2u(EPS_LOW, EPS_HIGH), 2u * s));
  if (v.x == 0u && v.y == 0u) {
    v.x = 1u;
  }
  let k = (i32(wide_bits(v)) - 31) >> 1u;
  var square: u32;
  if (k >= 0) {
    square = wide_shr(v, u32(2 * k)).x;
  } else {
    square = v.x << u32(-2 * k);
  }
  var root = 0u;
  for (var bit = 1u << 15u; bit > 0u; bit >>= 1u) {
    if ((root + bit) * (root + bit) <= square) {
      root += bit;
    }
  }
  let rest = 0x80000000u % root;
  let inv = 0x80000000u / root + select(0u, 1u, rest >= root - rest);
  return Factor(i32(inv), u32(15 + k));
}

fn mean_of(sum: vec2u) -> i32 {
  if ((sum.y >> 31u) == 1u) {
    return -i32(wide_div(wide_neg(sum), C).x);
  }
  return i32(wide_div(sum, C).x);
}

// Four neighbouring values of the row, or of what comes of them. An invocation
// holds up to four of these; no array, so that they stay in registers.
struct Held {
  v: vec4i,
  gain: vec4i,
  bias: vec4i,
}

fn held_load(row: u32, i: u32) -> Held {
  let at = min(i, G * 16u - 1u);
  var h = Held(x[row * G * 16u + at], consts[at], vec4i(0));
  if (CENTRE == 1u) {
    h.bias = consts[G * 16u + at];
  }
  return h;
}

fn valid4(i: u32) -> vec4<bool> {
  return vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(C);
}

// What an invocation's values come to, before the mean is known.
struct Sums {
  low: u32,
  high: i32,
  top: i32,
  bottom: i32,
}

fn summed(s: Sums, h: Held, i: u32) -> Sums {
  let valid = valid4(i);
  let v = select(vec4i(0), h.v, valid);
  let low = vec4u(v) & vec4u(0xffffu);
  let high = v >> vec4u(16u);
  let top = select(vec4i(-VALUE_MAX), h.v, valid);
  let bottom = select(vec4i(VALUE_MAX), h.v, valid);
  return Sums(s.low + low.x + low.y + low.z + low.w, s.high + high.x + high.y + high.z + high.w,
    max(s.top, max(max(top.x, top.y), max(top.z, top.w))),
    min(s.bottom, min(min(bottom.x, bottom.y), min(bottom.z, bottom.w))));
}

// x - mean, shifted into 24 bits; 0 past C.
fn deviation(v: vec4i, mean: i32, s: u32, i: u32) -> vec4i {
  var d = v - vec4i(mean);
  if (s > 0u) { // at most 7
    d = ((d >> vec4u(s - 1u)) + vec4i(1)) >> vec4u(1u);
  }
  return select(vec4i(0), clamp(d, vec4i(-0xffffff), vec4i(0xffffff)), valid4(i));
}

// Sums of squares by halves of 12 bits: of the high ones, of products, of the
// low ones.
fn squares(d: vec4i) -> vec3u {
  let v = vec4u(abs(d));
  let high = v >> vec4u(12u);
  let low = v & vec4u(0xfffu);
  return vec3u(dot(high, high), dot(high, low), dot(low, low));
}

fn mul_shift4(a: vec4i, b: vec4i, s: u32) -> vec4i {
  return vec4i(mul_shift(a.x, b.x, s), mul_shift(a.y, b.y, s), mul_shift(a.z, b.z, s), mul_shift(a.w, b.w, s));
}

// mul_shift4 for |a| < 2^24, |b| < 2^18 and s of 14 and more, in 32 bits: what the
// halves of 12 bits leave below 2^12 does not reach the rounding.
fn mul_shift_short(a: vec4i, b: vec4i, s: u32) -> vec4i {
  let v = (a >> vec4u(12u)) * b + (((a & vec4i(0xfff)) * b) >> vec4u(12u));
  return ((v >> vec4u(s - 13u)) + vec4i(1)) >> vec4u(1u);
}

fn normal(d: vec4i, f: Factor) -> vec4i {
  if (f.shift >= 14u) {
    return mul_shift_short(d, vec4i(f.inv), f.shift);
  }
  return mul_shift4(d, vec4i(f.inv), f.shift);
}

fn scaled(h: Held, f: Factor) -> vec4i {
  let z = normal(h.v, f);
  var y: vec4i;
  if (max(max_abs4(z) >> 6u, max_abs4(h.gain)) < 0x40000u) {
    y = mul_shift_short(z, h.gain, 16u);
  } else {
    y = mul_shift4(z, h.gain, 16u);
  }
  if (CENTRE == 1u) {
    y = clamp(y + h.bias, vec4i(-VALUE_MAX), vec4i(VALUE_MAX));
  }
  return y;
}

fn top_put(v: vec4i, i: u32) {
  if (i < G * 16u) {
    atomicMax(&norm_tops[i / 16u], max_abs4(v));
  }
}

fn word_put(v: vec4i, i: u32) {
  if (i < G * 16u) {
    let e = int8_exp(atomicLoad(&norm_tops[i / 16u]));
    norm_words[i / 16u * 17u + i % 16u] = pack4xI8(int8_of4(v, e));
  }
}

fn mean_put(s: Sums) {
  let low = fold_add(s.low);
  let high = fold_add(u32(s.high));
  let top = fold_max(u32(s.top + VALUE_MAX));
  let top2 = fold_max(u32(VALUE_MAX - s.bottom));
  if (fold_first()) {
    atomicAdd(&norm_low, low);
    atomicAdd(&norm_high, high);
    atomicMax(&norm_top, top);
    atomicMax(&norm_top2, top2);
  }
}

fn squares_put(own: vec3u) {
  let v = wide_add(wide_add(wide_shl(vec2u(own.x, 0u), 24u), wide_shl(vec2u(own.y, 0u), 13u)), vec2u(own.z, 0u));
  let a = fold_add(v.x & 0x3fffffu);
  let b = fold_add(((v.x >> 22u) | (v.y << 10u)) & 0x3fffffu);
  let c = fold_add(v.y >> 12u);
  if (fold_first()) {
    atomicAdd(&norm_limbs[0], a);
    atomicAdd(&norm_limbs[1], b);
    atomicAdd(&norm_limbs[2], c);
  }
}

fn squares_sum() -> vec2u {
  let middle = wide_shl(vec2u(atomicLoad(&norm_limbs[1]), 0u), 22u);
  let high = vec2u(0u, atomicLoad(&norm_limbs[2]) << 12u);
  return wide_add(wide_add(vec2u(atomicLoad(&norm_limbs[0]), 0u), middle), high);
}

// What an invocation holds of the row.
struct Row {
  a: Held,
  b: Held,
  c: Held,
  d: Held,
}

// To be called before anything larger is asked of memory.
fn row_load(row: u32, lid: u32) -> Row {
  const none = Held(vec4i(0), vec4i(0), vec4i(0));
  var h = Row(held_load(row, lid), none, none, none);
  if (4u * WG < C) {
    h.b = held_load(row, lid + WG);
  }
  if (8u * WG < C) {
    h.c = held_load(row, lid + 2u * WG);
    h.d = held_load(row, lid + 3u * WG);
  }
  return h;
}

// All invocations come here together, once.
fn row_take(held: Row, lid: u32) {
  let two = 4u * WG < C;
  let four = 8u * WG < C;
  let i1 = lid + WG;
  let i2 = i1 + WG;
  let i3 = i2 + WG;
  var h0 = held.a;
  var h1 = held.b;
  var h2 = held.c;
  var h3 = held.d;
  var s = summed(Sums(0u, 0, -VALUE_MAX, VALUE_MAX), h0, lid);
  if (two) {
    s = summed(s, h1, i1);
  }
  if (four) {
    s = summed(summed(s, h2, i2), h3, i3);
  }
  mean_put(s);
  workgroupBarrier();
  var mean = 0;
  if (CENTRE == 1u) {
    let above = wide_of(i32(atomicLoad(&norm_high)));
    mean = mean_of(wide_add(vec2u(atomicLoad(&norm_low), 0u), wide_shl(above, 16u)));
  }
  // The largest deviation is that of the largest or the smallest value.
  let highest = i32(atomicLoad(&norm_top)) - VALUE_MAX - mean;
  let lowest = VALUE_MAX - i32(atomicLoad(&norm_top2)) - mean;
  let b = bits(max(abs_u(highest), abs_u(lowest)));
  let down = select(0u, b - 24u, b > 24u);
  h0.v = deviation(h0.v, mean, down, lid);
  var own = squares(h0.v);
  if (two) {
    h1.v = deviation(h1.v, mean, down, i1);
    own += squares(h1.v);
  }
  if (four) {
    h2.v = deviation(h2.v, mean, down, i2);
    h3.v = deviation(h3.v, mean, down, i3);
    own += squares(h2.v) + squares(h3.v);
  }
  squares_put(own);
  workgroupBarrier();
  let f = factor_of(squares_sum(), down);
  h0.v = scaled(h0, f);
  top_put(h0.v, lid);
  var most = max_abs4(h0.v);
  if (two) {
    h1.v = scaled(h1, f);
    top_put(h1.v, i1);
    most = max(most, max_abs4(h1.v));
  }
  if (four) {
    h2.v = scaled(h2, f);
    h3.v = scaled(h3, f);
    top_put(h2.v, i2);
    top_put(h3.v, i3);
    most = max(most, max(max_abs4(h2.v), max_abs4(h3.v)));
  }
  let all_most = fold_max(most);
  if (fold_first()) {
    atomicMax(&norm_max, all_most);
  }
  workgroupBarrier();
  word_put(h0.v, lid);
  if (two) {
    word_put(h1.v, i1);
  }
  if (four) {
    word_put(h2.v, i2);
    word_put(h3.v, i3);
  }
  workgroupBarrier();
}

fn row_top() -> u32 {
  return int8_exp(atomicLoad(&norm_max));
}

fn row_exp(row: u32, g: u32) -> u32 {
  return int8_exp(atomicLoad(&norm_tops[g]));
}

// Words 4 k .. 4 k + 3 of a group.
fn row_words(row: u32, g: u32, k: u32) -> vec4u {
  let at = g * 17u + 4u * k;
  return vec4u(norm_words[at], norm_words[at + 1u], norm_words[at + 2u], norm_words[at + 3u]);
}
