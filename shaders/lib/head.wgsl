// head.wgsl - one head of a row: q and k are rotated; q becomes int8 for the
// scores, k and v go into the cache.
//
//   rows    (ROOM) vec4u: slot, position, -, -; then the pages: (slots, PAGES)
//           page of each 64 positions of a slot
//   rope    rope.low (128, DIM), then rope.high (format.h) as i32, where ROPE is 1
//   heads   (T, HEADS, D / 4 + 1): words of four int8, then the exponent
//   cache   (pages, KV, TILE) the layer's cache; a tile of 64 positions is
//           k words ((t / 16) * D / 4 + i / 4) * 16 + t % 16, four i each,
//           v words (t / 4) * D + i, four t each, then 64 exponents of k and
//           64 of v: kv.h's tile but for the width of exponents
//
// D is DIM rounded up to 16. Rows of one sequence may be in one dispatch: bytes
// of a v word are put with atomics. Needs fixed.wgsl, wide.wgsl.

override DIM: u32; // at most 128
override D: u32;
override HEADS: u32;
override KV: u32;
override PAGES: u32;
override ROOM: u32;
override ROPE: u32;

@group(0) @binding(4) var<storage, read> rows: array<vec4u>;
@group(0) @binding(5) var<storage, read> rope: array<i32>;
@group(0) @binding(6) var<storage, read_write> heads: array<u32>;
@group(0) @binding(7) var<storage, read_write> cache: array<atomic<u32>>;

var<workgroup> head_values: array<i32, 128>; // put there before head_put
var<workgroup> head_top: atomic<u32>;
var<workgroup> head_bytes: array<i32, 128>;

// Dimension i of the head, rotated by its position.
fn rotated(i: u32, position: u32) -> i32 {
  let half = DIM / 2u;
  let j = i % half;
  let a = position % 128u * DIM + j;
  let b = (128u + position / 128u) * DIM + j;
  let c = round_shift(rope[a] * rope[b] - rope[a + half] * rope[b + half], 14u);
  let s = round_shift(rope[a + half] * rope[b] + rope[a] * rope[b + half], 14u);
  let x0 = head_values[j];
  let y0 = head_values[j + half];
  if (i < half) {
    return sat(mul_shift(x0, c, 14u) - mul_shift(y0, s, 14u));
  }
  return sat(mul_shift(y0, c, 14u) + mul_shift(x0, s, 14u));
}

fn head_word(i: u32) -> u32 {
  return pack4xI8(vec4i(head_bytes[i], head_bytes[i + 1u], head_bytes[i + 2u], head_bytes[i + 3u]));
}

fn put_byte(at: u32, byte: u32, v: i32) {
  let s = byte * 8u;
  atomicAnd(&cache[at], ~(255u << s));
  atomicOr(&cache[at], (u32(v) & 255u) << s);
}

// Where a head of row t is, and where its k or v goes in the cache.
struct Place {
  position: u32,
  tile: u32,
}

fn head_place(t: u32, head: u32) -> Place {
  let row = rows[t];
  let at = row.x * PAGES + row.y / 64u;
  let kv = (head + KV - HEADS % KV) % KV; // means nothing where head < HEADS
  return Place(row.y, (rows[ROOM + at / 4u][at % 4u] * KV + kv) * (32u * D + 128u));
}

// All invocations, D or more, come here together, once, with head_values behind
// a barrier.
fn head_put(place: Place, t: u32, head: u32, i: u32) {
  var v = 0;
  if (i < DIM) {
    if (ROPE == 1u && head < HEADS + KV) {
      v = rotated(i, place.position);
    } else {
      v = head_values[i];
    }
    atomicMax(&head_top, abs_u(v));
  }
  workgroupBarrier();
  let e = int8_exp(atomicLoad(&head_top));
  if (i < D) {
    head_bytes[i] = int8_of(v, e);
  }
  workgroupBarrier();

  let p = place.position % 64u;
  let tile = place.tile;
  let words = D / 4u;
  if (head < HEADS) {
    let to = (t * HEADS + head) * (words + 1u);
    if (i < words) {
      heads[to + i] = head_word(4u * i);
    }
    if (i == 0u) {
      heads[to + words] = e;
    }
    return;
  }
  if (head < HEADS + KV) {
    if (i < words) {
      atomicStore(&cache[tile + (p / 16u * words + i) * 16u + p % 16u], head_word(4u * i));
    }
    if (i == 0u) {
      atomicStore(&cache[tile + 32u * D + p], e);
    }
    return;
  }
  if (i < D) {
    put_byte(tile + 16u * D + p / 4u * D + i, p % 4u, head_bytes[i]);
  }
  if (i == 0u) {
    atomicStore(&cache[tile + 32u * D + 64u + p], e);
  }
}
