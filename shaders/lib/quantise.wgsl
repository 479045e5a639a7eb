// quantise.wgsl - a group of 64 values to int8, by 16 neighbouring invocations
// that hold four each: the twin of engine_quantise_ref. Needs fixed.wgsl.
//
// Beside the four bytes a group has one word, corr << 5 | e: its exponent (0 ..
// 23) and 64 times the sum of its q, which is what biased weights add too much.

struct Quad {
  word: u32, // four q
  group: u32, // of the whole group
}

var<workgroup> quad_max: array<u32, 256>;
var<workgroup> quad_sum: array<i32, 256>;

// All invocations of the workgroup come here together; |v| < 2^30.
fn quantise_quad(v: vec4i, lid: u32) -> Quad {
  let first = lid & 0xf0u;
  var top = 0u;
  var sum = 0;
  workgroupBarrier();
  quad_max[lid] = max_abs4(v);
  workgroupBarrier();
  for (var i = 0u; i < 16u; i++) {
    top = max(top, quad_max[first + i]);
  }
  let e = int8_exp(top);
  let q = int8_of4(v, e);
  quad_sum[lid] = q.x + q.y + q.z + q.w;
  workgroupBarrier();
  for (var i = 0u; i < 16u; i++) {
    sum += quad_sum[first + i];
  }
  return Quad(pack4xI8(q), (u32(sum * 64) << 5u) | e);
}
