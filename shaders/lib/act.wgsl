// act.wgsl - GELU or SiLU of one value in Q16, from the shard's table `table`
// that the kernel binds: the twin of act() in volunteer/engine/activation.c.
// Needs fixed.wgsl.

const ACT_LIMIT: i32 = 1048576; // 16 in Q16

fn act(u: i32) -> i32 {
  if (u >= ACT_LIMIT) {
    return u;
  }
  if (u < -ACT_LIMIT) {
    return 0;
  }
  let i = u32(u + ACT_LIMIT) >> 9u;
  let f = (u + ACT_LIMIT) & 511;
  let a = table[i];
  return a + round_shift((table[i + 1u] - a) * f, 9u);
}
