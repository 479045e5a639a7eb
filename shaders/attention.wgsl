// attention.wgsl - causal attention of one row and query head over the cache,
// the row's own position included; one workgroup each, for any context.
// lib: fixed wide group
//
//   rows, heads, cache  see lib/head.wgsl
//   exp2    (4096) format.h
//   mixed   (T, LD) i32 out, HEADS * DIM of each row, in the fixed point of v
//   q, groups  where FUSED is 1 (DIM is 64, so a head is a group): instead of
//           mixed, the next matrix's input as quantise.wgsl makes it
//   dispatch (HEADS, T)
//
// The maximum is found first, then the weights: two passes over the scores,
// which are kept for 2048 positions and made again beyond. Sums of 128
// positions are exact in 32 bits, then added in 64.
// No two bindings alias.
// Reference: attention_head in volunteer/engine/attention.c.

override DIM: u32;
override D: u32;
override HEADS: u32;
override KV: u32;
override LD: u32;
override PAGES: u32;
override ROOM: u32;
override SHIFT: i32; // score_shift
override FUSED: u32;

const WG: u32 = 128u;
const KEPT: u32 = 2048u;
const SCORE_MAX: i32 = 134217728; // 2^27

@group(0) @binding(0) var<storage, read> rows: array<vec4u>;
@group(0) @binding(1) var<storage, read> heads: array<u32>;
@group(0) @binding(2) var<storage, read> cache: array<u32>;
@group(0) @binding(3) var<storage, read> exp2: array<i32>;
@group(0) @binding(4) var<storage, read_write> mixed: array<i32>;
@group(0) @binding(5) var<storage, read_write> q: array<u32>;
@group(0) @binding(6) var<storage, read_write> groups: array<u32>;

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
  let at = slot * PAGES + t / 64u;
  return (rows[ROOM + at / 4u][at % 4u] * KV + kv) * (32u * D + 128u);
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

// (high 2^16 + digit) / d for d with its top bit set and high < d: a quotient of
// 16 bits and what is left.
fn divide(high: u32, digit: u32, d: u32) -> vec2u {
  let top = d >> 16u;
  let low = d & 0xffffu;
  var q = high / top;
  var rest = high % top;
  // q is too large by 2 at most.
  for (var i = 0u; i < 2u; i++) {
    if (rest < 65536u && (q > 65535u || q * low > ((rest << 16u) | digit))) {
      q--;
      rest += top;
    }
  }
  return vec2u(q, ((high << 16u) | digit) - q * d); // modulo 2^32, but below d
}

// 2^61 / d rounded half up, for d with its top bit set.
fn inverse(d: u32) -> i32 {
  let first = divide(0x20000000u, 0u, d);
  let second = divide(first.y, 0u, d);
  let q = (first.x << 16u) | second.x;
  return i32(q + select(0u, 1u, second.y >= d - second.y));
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

// In the mix an invocation has one dimension, and with narrow heads every second
// (third, fourth) word of positions.
override LOTS: u32 = WG / D;

// Word lid / D + k LOTS of the 128 positions whose tiles these are; past the
// last position a word is read that weighs nothing.
fn value(tiles: vec2u, last: u32, k: u32, lid: u32) -> u32 {
  let t = min(4u * (lid / D + k * LOTS), last);
  return cache[select(tiles.x, tiles.y, t >= 64u) + 16u * D + t % 64u / 4u * D + lid % D];
}

// No array, so that they stay in registers.
struct Values {
  a: vec4u,
  b: vec4u,
  c: vec4u,
  d: vec4u,
}

fn values4(tiles: vec2u, last: u32, k: u32, lid: u32) -> vec4u {
  return vec4u(value(tiles, last, k, lid), value(tiles, last, k + 1u, lid), value(tiles, last, k + 2u, lid),
    value(tiles, last, k + 3u, lid));
}

fn values(slot: u32, kv: u32, base: u32, n: u32, k: u32, lid: u32) -> Values {
  let tiles = vec2u(tile_of(slot, kv, base), tile_of(slot, kv, min(base + 64u, n - 1u)));
  let last = min(n - 1u - base, 127u);
  return Values(values4(tiles, last, k, lid), values4(tiles, last, k + 4u, lid), values4(tiles, last, k + 8u, lid),
    values4(tiles, last, k + 12u, lid));
}

fn mixed1(v: u32, k: u32, lid: u32) -> vec2i {
  let j = lid / D + k * LOTS;
  if (j >= 32u) {
    return vec2i(0);
  }
  return vec2i(dot4I8Packed(low[j], v), dot4I8Packed(high[j], v));
}

fn mixed4(v: vec4u, k: u32, lid: u32) -> vec2i {
  return mixed1(v.x, k, lid) + mixed1(v.y, k + 1u, lid) + mixed1(v.z, k + 2u, lid) + mixed1(v.w, k + 3u, lid);
}

fn mixed16(v: Values, k: u32, lid: u32) -> vec2i {
  return mixed4(v.a, k, lid) + mixed4(v.b, k + 4u, lid) + mixed4(v.c, k + 8u, lid) + mixed4(v.d, k + 12u, lid);
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

  var v = values(slot, kv, 0u, n, 0u, lid); // asked for early
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
    if (lot < LOTS) {
      var acc = mixed16(v, 0u, lid);
      if (LOTS == 1u) {
        acc += mixed16(values(slot, kv, base, n, 16u, lid), 16u, lid);
      }
      sum = wide_add(sum, wide_of(acc.x + 128 * acc.y));
    }
    if (base + WG < end) {
      v = values(slot, kv, base + WG, n, 0u, lid);
    }
  }
  atomicAdd(&total, own_total);
  sums[lid] = sum;
  workgroupBarrier();
  var out = 0;
  if (lid < DIM) {
    var all = sums[lid];
    for (var l = 1u; l < LOTS; l++) {
      all = wide_add(all, sums[l * D + lid]);
    }
    out = finished(all, atomicLoad(&total), e_max);
    if (FUSED == 0u) {
      mixed[group.y * LD + head * DIM + lid] = out;
    }
  }
  if (FUSED == 1u) {
    group_put(group.y * HEADS + head, out, lid);
  }
}
