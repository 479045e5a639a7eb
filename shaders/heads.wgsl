// heads.wgsl - what the qkv matrix gave, head by head: q and k are rotated; q
// becomes int8 for the scores, k and v go into the cache.
// lib: fixed wide
//
//   rows    (T) vec4u: slot, position, -, -
//   pages   (slots, PAGES) page of each 64 positions of a slot
//   qkv     (T, LD) i32: HEADS heads of q, KV of k, KV of v, each of DIM
//   low, high  rope.low and rope.high (format.h) as i32, where ROPE is 1
//   heads   (T, HEADS, D / 4 + 1): words of four int8, then the exponent
//   cache   (pages, KV, TILE) the layer's cache; a tile of 64 positions is
//           k words ((t / 16) * D / 4 + i / 4) * 16 + t % 16, four i each,
//           v words (t / 4) * D + i, four t each, then 64 exponents of k and
//           64 of v: kv.h's tile but for the width of exponents
//   dispatch (HEADS + 2 KV, T), D being DIM rounded up to 16
//
// Rows of one sequence may be in one dispatch: bytes of a v word are put with
// atomics. Reference: store_task (forward.c), rope.c, attention_store.

override DIM: u32;
override D: u32;
override HEADS: u32;
override KV: u32;
override LD: u32;
override PAGES: u32;
override ROPE: u32;

@group(0) @binding(0) var<storage, read> rows: array<vec4u>;
@group(0) @binding(1) var<storage, read> pages: array<u32>;
@group(0) @binding(2) var<storage, read> qkv: array<i32>;
@group(0) @binding(3) var<storage, read> low: array<i32>;
@group(0) @binding(4) var<storage, read> high: array<i32>;
@group(0) @binding(5) var<storage, read_write> heads: array<u32>;
@group(0) @binding(6) var<storage, read_write> cache: array<atomic<u32>>;

var<workgroup> top: atomic<u32>;
var<workgroup> bytes: array<i32, 128>;

// Dimension i of the head at `at`, rotated by its position.
fn rotated(at: u32, i: u32, position: u32) -> i32 {
  let half = DIM / 2u;
  let j = i % half;
  let a = position % 128u * DIM + j;
  let b = position / 128u * DIM + j;
  let c = round_shift(low[a] * high[b] - low[a + half] * high[b + half], 14u);
  let s = round_shift(low[a + half] * high[b] + low[a] * high[b + half], 14u);
  let x = qkv[at + j];
  let y = qkv[at + j + half];
  if (i < half) {
    return sat(mul_shift(x, c, 14u) - mul_shift(y, s, 14u));
  }
  return sat(mul_shift(y, c, 14u) + mul_shift(x, s, 14u));
}

fn packed(i: u32) -> u32 {
  return pack4xI8(vec4i(bytes[i], bytes[i + 1u], bytes[i + 2u], bytes[i + 3u]));
}

fn put_byte(at: u32, byte: u32, v: i32) {
  let s = byte * 8u;
  atomicAnd(&cache[at], ~(255u << s));
  atomicOr(&cache[at], (u32(v) & 255u) << s);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) i: u32) {
  let head = group.x;
  let t = group.y;
  let row = rows[t];
  let at = t * LD + head * DIM;
  var v = 0;
  if (i < DIM) {
    if (ROPE == 1u && head < HEADS + KV) {
      v = rotated(at, i, row.y);
    } else {
      v = qkv[at + i];
    }
  }
  atomicMax(&top, abs_u(v));
  workgroupBarrier();
  let e = int8_exp(atomicLoad(&top));
  bytes[i] = int8_of(v, e);
  workgroupBarrier();

  let p = row.y % 64u;
  let words = D / 4u;
  if (head < HEADS) {
    let to = (t * HEADS + head) * (words + 1u);
    if (i < words) {
      heads[to + i] = packed(4u * i);
    }
    if (i == 0u) {
      heads[to + words] = e;
    }
    return;
  }
  let kv = (head - HEADS) % KV;
  let tile = (pages[row.x * PAGES + row.y / 64u] * KV + kv) * (32u * D + 128u);
  if (head < HEADS + KV) {
    if (i < words) {
      atomicStore(&cache[tile + (p / 16u * words + i) * 16u + p % 16u], packed(4u * i));
    }
    if (i == 0u) {
      atomicStore(&cache[tile + 32u * D + p], e);
    }
    return;
  }
  if (i < D) {
    put_byte(tile + 16u * D + p / 4u * D + i, p % 4u, bytes[i]);
  }
  if (i == 0u) {
    atomicStore(&cache[tile + 32u * D + 64u + p], e);
  }
}
