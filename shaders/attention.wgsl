// attention.wgsl - causal attention of one row and query head over the cache,
// the row's own position included; one workgroup each, for any context.
// lib: fixed wide
//
//   rows    (T) vec4u: slot, position, -, -
//   pages   (slots, PAGES)
//   heads   (T, HEADS, D / 4 + 1), cache (pages, KV, TILE): see heads.wgsl
//   exp2    (4096) format.h
//   mixed   (T, LD) i32 out, HEADS * DIM of each row, in the fixed point of v
//   dispatch (HEADS, T)
//
// The maximum is found first, then the weights: two passes over the scores,
// which are kept for 2048 positions and made again beyond. Sums of 128
// positions are exact in 32 bits, then added in 64.
// Reference: attention_head in volunteer/engine/attention.c.

override DIM: u32;
override D: u32;
override HEADS: u32;
override KV: u32;
override LD: u32;
override PAGES: u32;
override SHIFT: i32; // score_shift

const WG: u32 = 128u;
const KEPT: u32 = 2048u;
const SCORE_MAX: i32 = 134217728; // 2^27

@group(0) @binding(0) var<storage, read> rows: array<vec4u>;
@group(0) @binding(1) var<storage, read> pages: array<u32>;
@group(0) @binding(2) var<storage, read> heads: array<u32>;
@group(0) @binding(3) var<storage, read> cache: array<u32>;
@group(0) @binding(4) var<storage, read> exp2: array<i32>;
@group(0) @binding(5) var<storage, read_write> mixed: array<i32>;

var<workgroup> query: array<u32, 33>;
var<workgroup> top: atomic<u32>; // score + SCORE_MAX
var<workgroup> top_exp: atomic<u32>;
var<workgroup> total: atomic<u32>;
var<workgroup> scores: array<i32, 2048>;
var<workgroup> weights: array<u32, 128>;
var<workgroup> low: array<u32, 32>; // four positions a word
var<workgroup> high: array<u32, 32>;
var<workgroup> sums: array<vec2u, 128>;

// Where the tile of a position begins.
fn tile_of(slot: u32, kv: u32, t: u32) -> u32 {
  return (pages[slot * PAGES + t / 64u] * KV + kv) * (32u * D + 128u);
}

fn score(tile: u32, t: u32) -> i32 {
  let p = t % 64u;
  let base = tile + p / 16u * (D / 4u) * 16u + p % 16u;
  var dot = 0;
  for (var i = 0u; i < D / 4u; i++) {
    dot += dot4I8Packed(query[i], cache[base + i * 16u]);
  }
  let s = i32(cache[tile + 32u * D + p] + query[D / 4u]) + SHIFT;
  return clamp(shift(dot, s), -SCORE_MAX, SCORE_MAX);
}

// 2^61 / d rounded half up, for d with its top bit set.
fn inverse(d: u32) -> i32 {
  var rest = 0x80000000u;
  var q = 0u;
  if (rest >= d) {
    rest -= d;
    q = 1u;
  }
  for (var i = 0u; i < 30u; i++) {
    let carry = rest >> 31u;
    rest = rest << 1u;
    q = q << 1u;
    if (carry == 1u || rest >= d) {
      rest -= d;
      q |= 1u;
    }
  }
  return i32(q + select(0u, 1u, rest >= d - rest));
}

// The sum over positions in 64 bits, to the head's output.
fn finished(sum: vec2u, weight: u32, e_max: u32) -> i32 {
  let lead = countLeadingZeros(weight);
  var a: i32;
  if (lead >= 9u) {
    a = i32(sum.x << (lead - 9u));
  } else {
    a = i32(wide_round_sar(sum, 9u - lead).x);
  }
  return mul_shift(a, inverse(weight << lead), 52u - e_max);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let head = group.x;
  let slot = rows[group.y].x;
  let n = rows[group.y].y + 1u;
  let kv = head / (HEADS / KV);
  if (lid <= D / 4u) {
    query[lid] = heads[(group.y * HEADS + head) * (D / 4u + 1u) + lid];
  }
  workgroupBarrier();

  var own_top = 0u;
  var own_exp = 0u;
  for (var t = lid; t < n; t += WG) {
    let tile = tile_of(slot, kv, t);
    let s = score(tile, t);
    own_top = max(own_top, u32(s + SCORE_MAX));
    own_exp = max(own_exp, cache[tile + 32u * D + 64u + t % 64u]);
    if (t < KEPT) {
      scores[t] = s;
    }
  }
  atomicMax(&top, own_top);
  atomicMax(&top_exp, own_exp);
  workgroupBarrier();
  let max_score = i32(atomicLoad(&top)) - SCORE_MAX;
  let e_max = atomicLoad(&top_exp);

  // In the mix an invocation has one dimension, and with narrow heads every
  // second (third, fourth) word of positions.
  let lots = WG / D;
  let i = lid % D;
  let lot = lid / D;
  var sum = vec2u(0u, 0u);
  var own_total = 0u;
  let end = (n + WG - 1u) / WG * WG;
  for (var base = 0u; base < end; base += WG) {
    let t = base + lid;
    var p = 0u;
    if (t < n) {
      let tile = tile_of(slot, kv, t);
      var s: i32;
      if (t < KEPT) {
        s = scores[t];
      } else {
        s = score(tile, t);
      }
      let d = u32(max_score - s);
      p = u32(round_shift(exp2[d & 4095u], 16u + (d >> 12u)));
      own_total += p;
      p = u32(round_shift(i32(p), e_max - cache[tile + 32u * D + 64u + t % 64u]));
    }
    workgroupBarrier();
    weights[lid] = p;
    workgroupBarrier();
    if (lid < 32u) {
      let four = vec4u(weights[4u * lid], weights[4u * lid + 1u], weights[4u * lid + 2u],
        weights[4u * lid + 3u]);
      low[lid] = pack4xU8(four & vec4u(127u));
      high[lid] = pack4xU8(four >> vec4u(7u));
    }
    workgroupBarrier();
    if (lot < lots) {
      var acc_low = 0;
      var acc_high = 0;
      let words = (min(n - base, WG) + 3u) / 4u;
      for (var j = lot; j < words; j += lots) {
        let at = base + 4u * j;
        let v = cache[tile_of(slot, kv, at) + 16u * D + at % 64u / 4u * D + i];
        acc_low += dot4I8Packed(low[j], v);
        acc_high += dot4I8Packed(high[j], v);
      }
      sum = wide_add(sum, wide_of(acc_low + 128 * acc_high));
    }
  }
  atomicAdd(&total, own_total);
  sums[lid] = sum;
  workgroupBarrier();
  if (lid < DIM) {
    var all = sums[lid];
    for (var l = 1u; l < lots; l++) {
      all = wide_add(all, sums[l * D + lid]);
    }
    mixed[group.y * LD + head * DIM + lid] = finished(all, atomicLoad(&total), e_max);
  }
}
