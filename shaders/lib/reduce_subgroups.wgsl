// reduce_subgroups.wgsl - reduce.wgsl for GPUs with subgroups: one invocation
// of each brings its part into workgroup memory. Nothing is assumed about the
// size of a subgroup or which invocations it has.

const WG: u32 = 256u;

var<workgroup> reduce_top: atomic<u32>;
var<workgroup> reduce_limbs: array<atomic<u32>, 3>; // of 22, 22 and 20 bits

fn reduce_max(v: u32, lid: u32) -> u32 {
  let top = subgroupMax(v);
  workgroupBarrier();
  if (lid == 0u) {
    atomicStore(&reduce_top, 0u);
  }
  workgroupBarrier();
  if (subgroupElect()) {
    atomicMax(&reduce_top, top);
  }
  workgroupBarrier();
  return atomicLoad(&reduce_top);
}

// 256 limbs of 22 bits stay within 32.
fn reduce_add64(v: vec2u, lid: u32) -> vec2u {
  let a = subgroupAdd(v.x & 0x3fffffu);
  let b = subgroupAdd(((v.x >> 22u) | (v.y << 10u)) & 0x3fffffu);
  let c = subgroupAdd(v.y >> 12u);
  workgroupBarrier();
  if (lid < 3u) {
    atomicStore(&reduce_limbs[lid], 0u);
  }
  workgroupBarrier();
  if (subgroupElect()) {
    atomicAdd(&reduce_limbs[0], a);
    atomicAdd(&reduce_limbs[1], b);
    atomicAdd(&reduce_limbs[2], c);
  }
  workgroupBarrier();
  let low = vec2u(atomicLoad(&reduce_limbs[0]), 0u);
  let middle = wide_shl(vec2u(atomicLoad(&reduce_limbs[1]), 0u), 22u);
  let high = vec2u(0u, atomicLoad(&reduce_limbs[2]) << 12u);
  return wide_add(wide_add(low, middle), high);
}
