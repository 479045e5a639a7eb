// group.wgsl - one group of 64 values to int8, of which each of the first 64
// invocations holds one and the others hold 0: the twin of engine_quantise_ref
// for a group. The kernel binds `q` and `groups`; beside its 64 bytes a group has
// one word, corr << 5 | e (lib/quantise.wgsl). Needs fixed.wgsl.

var<workgroup> group_top: atomic<u32>;
var<workgroup> group_sum: atomic<i32>;
var<workgroup> group_bytes: array<i32, 64>;

// All invocations come here together, once; `at` is the group's index.
fn group_put(at: u32, v: i32, lid: u32) {
  if (lid < 64u) {
    atomicMax(&group_top, abs_u(v));
  }
  workgroupBarrier();
  let e = int8_exp(atomicLoad(&group_top));
  if (lid < 64u) {
    let byte = int8_of(v, e);
    atomicAdd(&group_sum, byte);
    group_bytes[lid] = byte;
  }
  workgroupBarrier();
  if (lid < 16u) {
    q[at * 16u + lid] = pack4xI8(vec4i(group_bytes[4u * lid], group_bytes[4u * lid + 1u],
      group_bytes[4u * lid + 2u], group_bytes[4u * lid + 3u]));
  }
  if (lid == 0u) {
    groups[at] = (u32(atomicLoad(&group_sum) * 64) << 5u) | e;
  }
}
