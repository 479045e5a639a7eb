// matmul_row.wgsl - the integer matrix product for few rows: each weight is
// read once a row of activations.
// lib: fixed
//
//   w       (BLOCKS, G, 64) vec4u: a packed tile as it is loaded (format.h):
//           vec 4 c + r of a tile has columns 4c..4c+3 of rows 4r..4r+3
//   m       (BLOCKS, G, 4) words of four mantissas
//   e, b    row exponents and biases of the whole matrix
//   q       (T, G * 4) vec4u: 16 int8 each
//   groups  (T, G) corr << 5 | e
//   y       (T, LD) i32, LD at least 16 times the whole matrix's blocks
//   dispatch (ceil(BLOCKS / TILES), T); it computes blocks BLOCK .. BLOCK +
//           BLOCKS - 1 of the matrix, w and m holding only these
//
// A workgroup does TILES blocks of 16 outputs: for each LANES lots of groups,
// each by four invocations of four rows. Sums are order-free. Bounds and the
// formula: volunteer/engine/matmul.h. Reference: matmul_ref.

override G: u32;
override LD: u32;
override BLOCK: u32;
override BLOCKS: u32;
override SPARE: u32;
override TILES: u32;
override LANES: u32;
override WG: u32; // TILES * LANES * 4

@group(0) @binding(0) var<storage, read> w: array<vec4u>;
@group(0) @binding(1) var<storage, read> m: array<u32>;
@group(0) @binding(2) var<storage, read> e: array<i32>;
@group(0) @binding(3) var<storage, read> b: array<i32>;
@group(0) @binding(4) var<storage, read> q: array<vec4u>;
@group(0) @binding(5) var<storage, read> groups: array<u32>;
@group(0) @binding(6) var<storage, read_write> y: array<i32>;

var<workgroup> top: atomic<u32>;
var<workgroup> parts: array<vec4i, WG>;

fn dot4(a: u32, rows: vec4u) -> vec4i {
  return vec4i(dot4I8Packed(a, rows.x), dot4I8Packed(a, rows.y), dot4I8Packed(a, rows.z),
    dot4I8Packed(a, rows.w));
}

// The product of one group, times its mantissas; tile as in w.
fn product(tile: u32, row: u32, at: u32) -> vec4i {
  var dot = vec4i(-(i32(groups[at]) >> 5u));
  for (var c = 0u; c < 4u; c++) {
    let a = q[at * 4u + c];
    let base = tile * 64u + c * 16u + row;
    dot += dot4(a.x, w[base]) + dot4(a.y, w[base + 4u]) + dot4(a.z, w[base + 8u]) +
      dot4(a.w, w[base + 12u]);
  }
  return dot * vec4i(unpack4xU8(m[tile * 4u + row]));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let t = group.y;
  let row = lid % 4u;
  let lane = lid / 4u % LANES;
  let block = min(group.x * TILES + lid / (4u * LANES), BLOCKS - 1u);
  for (var g = lid; g < G; g += WG) {
    atomicMax(&top, groups[t * G + g] & 31u);
  }
  workgroupBarrier();
  let e_max = atomicLoad(&top);
  var sum = vec4i(0);
  for (var g = lane; g < G; g += LANES) {
    let s = e_max - (groups[t * G + g] & 31u) + SPARE;
    sum += product(block * G + g, row, t * G + g) >> vec4u(s);
  }
  parts[lid] = sum;
  workgroupBarrier();
  // The last workgroup may compute its last block more than once, alike.
  for (var i = lid; i < TILES * 16u; i += WG) {
    var acc = 0;
    for (var l = 0u; l < LANES; l++) {
      acc += parts[(i / 16u * LANES + l) * 4u + i % 16u / 4u][i % 4u];
    }
    if (group.x * TILES + i / 16u < BLOCKS) {
      let n = (BLOCK + group.x * TILES) * 16u + i;
      y[t * LD + n] = sat(shift(acc, i32(e_max + SPARE) + e[n]) + b[n]);
    }
  }
}
