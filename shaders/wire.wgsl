// wire.wgsl - rows of the residual in their wire form (syn1.h), for the rows that
// a span gives back. What crosses a boundary has been rounded to it already.
// lib: fixed
//
//   x       (T, G * 16) vec4i: the residual, zeros past C
//   heads   (T) vec4u: row, answer, -, -
//   wires   (answers, ceil(C / 4) + ceil(C / 32)): words of four mantissas, the
//           bytes past C being 0, then exponents, one a word
//   dispatch (ceil(C / 1024), T)
//
// No two bindings alias.
// Reference: wire_put in volunteer/engine/wire.c.

override C: u32;
override G: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4i>;
@group(0) @binding(1) var<storage, read> heads: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> wires: array<u32>;

var<workgroup> tops: array<atomic<u32>, 32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let head = heads[group.y];
  let words = (C + 3u) / 4u;
  let at = head.y * (words + (C + 31u) / 32u);
  let i = group.x * 256u + lid;
  var v = vec4i(0);
  if (i < words) {
    v = x[head.x * G * 16u + i];
    atomicMax(&tops[lid / 8u], max_abs4(v));
  }
  workgroupBarrier();
  let e = int8_exp(atomicLoad(&tops[lid / 8u]));
  if (i < words) {
    wires[at + i] = pack4xI8(int8_of4(v, e));
    if (lid % 8u == 0u) {
      wires[at + words + i / 8u] = e;
    }
  }
}
