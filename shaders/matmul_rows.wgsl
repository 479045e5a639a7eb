// matmul_rows.wgsl - the integer matrix product for many rows: a workgroup does
// 32 rows of activations by two blocks of 16 outputs, its four quarters each a
// fourth of the groups.
// lib: fixed
//
//   tensors   as matmul_row.wgsl, ADD and WIRE too; q, groups and y have room
//             for T rounded up to 32, and what lies past T is computed but
//             means nothing
//   dispatch  (ceil(BLOCKS / 2), ceil(T / 32))
//
// Bounds and the formula: volunteer/engine/matmul.h. Reference: matmul_ref;
// add_out and end_task in forward.c; wire_put in wire.c.
//
// No two bindings alias.

override G: u32;
override LD: u32;
override BLOCK: u32;
override BLOCKS: u32;
override SPARE: u32;
override AT: u32; // of e in consts
override ROWS: u32; // and from there to b
override N: u32;
override ADD: u32;
override WIRE: u32;

@group(0) @binding(0) var<storage, read> w: array<vec4u>;
@group(0) @binding(1) var<storage, read> m: array<u32>;
@group(0) @binding(2) var<storage, read> consts: array<i32>;
@group(0) @binding(3) var<storage, read> q: array<vec4u>;
@group(0) @binding(4) var<storage, read> groups: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<i32>;

var<workgroup> tops: array<atomic<u32>, 32>; // of each row
var<workgroup> sums: array<atomic<i32>, 1024>; // (32 rows, 32 outputs)
var<workgroup> wire_tops: array<atomic<u32>, 32>; // of each row

fn dot4(a: u32, rows: vec4u) -> vec4i {
  return vec4i(dot4I8Packed(a, rows.x), dot4I8Packed(a, rows.y), dot4I8Packed(a, rows.z),
    dot4I8Packed(a, rows.w));
}

fn dot16(a: vec4u, w0: vec4u, w1: vec4u, w2: vec4u, w3: vec4u) -> vec4i {
  return dot4(a.x, w0) + dot4(a.y, w1) + dot4(a.z, w2) + dot4(a.w, w3);
}

fn add4(at: u32, v: vec4i) {
  atomicAdd(&sums[at], v.x);
  atomicAdd(&sums[at + 1u], v.y);
  atomicAdd(&sums[at + 2u], v.z);
  atomicAdd(&sums[at + 3u], v.w);
}

fn scaled(dot: vec4i, mantissa: vec4i, group: u32, e_max: u32) -> vec4i {
  let whole = (dot - (i32(group) >> 5u)) * mantissa;
  return whole >> vec4u(min(e_max - (group & 31u) + SPARE, 31u));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let t0 = group.y * 32u;
  for (var i = lid; i < 32u * G; i += 256u) {
    atomicMax(&tops[i / G], groups[t0 * G + i] & 31u);
  }
  workgroupBarrier();
  let row = lid % 4u;
  let half = lid / 4u % 2u; // which of the two blocks
  let own = lid / 8u % 8u * 4u; // the first of four rows of activations
  let quarter = lid / 64u;
  let block = min(group.x * 2u + half, BLOCKS - 1u);
  let t = t0 + own;
  let e0 = atomicLoad(&tops[own]);
  let e1 = atomicLoad(&tops[own + 1u]);
  let e2 = atomicLoad(&tops[own + 2u]);
  let e3 = atomicLoad(&tops[own + 3u]);
  var s0 = vec4i(0);
  var s1 = vec4i(0);
  var s2 = vec4i(0);
  var s3 = vec4i(0);
  for (var g = quarter; g < G; g += 4u) {
    var d0 = vec4i(0);
    var d1 = vec4i(0);
    var d2 = vec4i(0);
    var d3 = vec4i(0);
    let tile = block * G + g;
    let at = t * G + g;
    for (var c = 0u; c < 4u; c++) {
      let base = tile * 64u + c * 16u + row;
      let w0 = w[base];
      let w1 = w[base + 4u];
      let w2 = w[base + 8u];
      let w3 = w[base + 12u];
      d0 += dot16(q[at * 4u + c], w0, w1, w2, w3);
      d1 += dot16(q[(at + G) * 4u + c], w0, w1, w2, w3);
      d2 += dot16(q[(at + 2u * G) * 4u + c], w0, w1, w2, w3);
      d3 += dot16(q[(at + 3u * G) * 4u + c], w0, w1, w2, w3);
    }
    let mantissa = vec4i(unpack4xU8(m[tile * 4u + row]));
    s0 += scaled(d0, mantissa, groups[at], e0);
    s1 += scaled(d1, mantissa, groups[at + G], e1);
    s2 += scaled(d2, mantissa, groups[at + 2u * G], e2);
    s3 += scaled(d3, mantissa, groups[at + 3u * G], e3);
  }
  let to = own * 32u + half * 16u + row * 4u;
  add4(to, s0);
  add4(to + 32u, s1);
  add4(to + 64u, s2);
  add4(to + 96u, s3);
  workgroupBarrier();
  for (var i = lid; i < 1024u; i += 256u) {
    let n = (BLOCK + group.x * 2u) * 16u + i % 32u;
    if (n < N && group.x * 2u + i % 32u / 16u < BLOCKS) {
      let to = (t0 + i / 32u) * LD + n;
      let acc = atomicLoad(&sums[i]);
      var v = sat(shift(acc, i32(atomicLoad(&tops[i / 32u]) + SPARE) + consts[AT + n]) + consts[AT + ROWS + n]);
      if (ADD == 1u) {
        v = sat(y[to] + v);
      }
      if (WIRE == 1u) {
        atomicStore(&sums[i], v);
        atomicMax(&wire_tops[i / 32u], abs_u(v));
      } else {
        y[to] = v;
      }
    }
  }
  if (WIRE == 1u) {
    workgroupBarrier();
    for (var i = lid; i < 1024u; i += 256u) {
      let n = (BLOCK + group.x * 2u) * 16u + i % 32u;
      if (n < N && group.x * 2u + i % 32u / 16u < BLOCKS) {
        let e = int8_exp(atomicLoad(&wire_tops[i / 32u]));
        y[(t0 + i / 32u) * LD + n] = left_shift(int8_of(atomicLoad(&sums[i]), e), e);
      }
    }
  }
}
