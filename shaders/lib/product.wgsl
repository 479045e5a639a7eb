// product.wgsl - a workgroup's part of the integer matrix product of one row.
// Each weight is read once a row of activations.
//
//   w       (BLOCKS, G, 64) vec4u: packed tiles as they are loaded (format.h):
//           vec 4 c + r of a tile has columns 4c..4c+3 of rows 4r..4r+3
//   m       (BLOCKS, G, 4) words of four mantissas
//   consts  row exponents from AT on, biases from AT + ROWS on: four a vector
//
// A workgroup does TILES blocks of 16 outputs: for each LANES lots of groups
// (a multiple of 4), each by four invocations of four rows. The row itself is
// behind row_words, row_exp and row_top (lib/row_given.wgsl, lib/row_norm.wgsl).
// Sums are order-free. Bounds and the formula: volunteer/engine/matmul.h.
// Reference: matmul_ref. Needs fixed.wgsl.

override G: u32;
override SPARE: u32;
override TILES: u32;
override LANES: u32;
override WG: u32; // TILES * LANES * 4
override AT: u32;
override ROWS: u32; // 16 times the whole matrix's blocks

@group(0) @binding(0) var<storage, read> w: array<vec4u>;
@group(0) @binding(1) var<storage, read> m: array<u32>;
@group(0) @binding(2) var<storage, read> consts: array<vec4i>;

var<workgroup> parts: array<vec4i, WG>;
var<workgroup> sums: array<i32, WG>;

fn lane_of(lid: u32) -> u32 {
  return lid / 4u % LANES;
}

// What memory must bring for one group: asked for before the row is there. No
// array, so that it stays in registers.
struct Quarter {
  a: vec4u,
  b: vec4u,
  c: vec4u,
  d: vec4u,
}

struct Tile {
  a: Quarter,
  b: Quarter,
  c: Quarter,
  d: Quarter,
  mantissas: u32,
}

fn quarter_load(at: u32) -> Quarter {
  return Quarter(w[at], w[at + 4u], w[at + 8u], w[at + 12u]);
}

fn tile_load(block: u32, g: u32, lid: u32) -> Tile {
  let tile = block * G + g;
  let at = tile * 64u + lid % 4u;
  return Tile(quarter_load(at), quarter_load(at + 16u), quarter_load(at + 32u), quarter_load(at + 48u),
    m[tile * 4u + lid % 4u]);
}

fn dot4(a: u32, rows: vec4u) -> vec4i {
  return vec4i(dot4I8Packed(a, rows.x), dot4I8Packed(a, rows.y), dot4I8Packed(a, rows.z),
    dot4I8Packed(a, rows.w));
}

fn sum4(a: u32) -> i32 {
  return dot4I8Packed(a, 0x01010101u);
}

// The bias of the weights, 64 times the sum of the row's group, is taken off.
fn quarter_product(q: Quarter, row: u32, g: u32, k: u32) -> vec4i { // columns 16 k and on
  let v = row_words(row, g, k);
  return dot4(v.x, q.a) + dot4(v.y, q.b) + dot4(v.z, q.c) + dot4(v.w, q.d) -
    vec4i(64 * (sum4(v.x) + sum4(v.y) + sum4(v.z) + sum4(v.w)));
}

// The product of one group, times its mantissas.
fn tile_product(t: Tile, row: u32, g: u32) -> vec4i {
  let dot = quarter_product(t.a, row, g, 0u) + quarter_product(t.b, row, g, 1u) +
    quarter_product(t.c, row, g, 2u) + quarter_product(t.d, row, g, 3u);
  return dot * vec4i(unpack4xU8(t.mantissas));
}

// Exponent and bias of an output: asked for early, too.
struct Ends {
  e: i32,
  b: i32,
}

fn ends_load(n: u32) -> Ends {
  let at = min(n, ROWS - 1u);
  return Ends(consts[(AT + at) / 4u][at % 4u], consts[(AT + ROWS + at) / 4u][at % 4u]);
}

// The groups after the first lot, and all lots together: then sums holds, for
// output i of tile j, LANES / 4 parts.
fn product_finish(first: vec4i, block: u32, row: u32, lid: u32) {
  var sum = first;
  for (var g = lane_of(lid) + LANES; g < G; g += LANES) {
    let s = row_top() - row_exp(row, g) + SPARE;
    sum += tile_product(tile_load(block, g, lid), row, g) >> vec4u(s);
  }
  parts[lid] = sum;
  workgroupBarrier();
  let lots = LANES / 4u;
  let tile = lid / (4u * LANES);
  let lot = lid % (4u * LANES) / 16u;
  var some = 0;
  for (var l = 0u; l < 4u; l++) {
    some += parts[(tile * LANES + lot + l * lots) * 4u + lid % 16u / 4u][lid % 4u];
  }
  sums[lid] = some;
  workgroupBarrier();
}

// Output lid, below 16 * TILES, of the workgroup's.
fn product_output(ends: Ends, lid: u32) -> i32 {
  var acc = 0;
  for (var l = 0u; l < LANES / 4u; l++) {
    acc += sums[lid / 16u * 4u * LANES + l * 16u + lid % 16u];
  }
  return sat(shift(acc, i32(row_top() + SPARE) + ends.e) + ends.b);
}
