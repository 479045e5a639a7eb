// reduce.wgsl - one value out of a workgroup's 256, for GPUs without subgroups;
// reduce_subgroups.wgsl has the same functions for those with them. All
// invocations must come here together, and all get the answer. Integers, so
// the order of the sum is free. Needs fixed.wgsl, wide.wgsl.

const WG: u32 = 256u;

var<workgroup> reduce_wide: array<vec2u, 256>;

fn reduce_max(v: u32, lid: u32) -> u32 {
  workgroupBarrier();
  reduce_wide[lid].x = v;
  for (var half = WG / 2u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lid < half) {
      reduce_wide[lid].x = max(reduce_wide[lid].x, reduce_wide[lid + half].x);
    }
  }
  return workgroupUniformLoad(&reduce_wide[0]).x;
}

fn reduce_add64(v: vec2u, lid: u32) -> vec2u {
  workgroupBarrier();
  reduce_wide[lid] = v;
  for (var half = WG / 2u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lid < half) {
      reduce_wide[lid] = wide_add(reduce_wide[lid], reduce_wide[lid + half]);
    }
  }
  return workgroupUniformLoad(&reduce_wide[0]);
}
