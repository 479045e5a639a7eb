// norm_up.wgsl - the residual's norm, the up matrix and the activation function
// (GATE 1: times the up half), to int8 in groups of 64, for few rows; a workgroup
// has one group.
// lib: fixed wide fold row_norm product act group
//
//   w, m, consts, x  see lib/product.wgsl, lib/row_norm.wgsl
//   table   (4097) the activation function (format.h, "act")
//   q       (T, OUT * 16) words of four int8; zeros past N
//   groups  (T, OUT) corr << 5 | e
//   dispatch (OUT, T), OUT being ceil(N / 64)
//
// TILES is 4, and with GATE 8: the second four are of the up half, which begins
// at output N, a multiple of 16. Reference: engine_norm_ref, matmul_ref,
// engine_act_ref and engine_gate_ref, engine_quantise_ref.
//
// No two bindings alias.

override N: u32;
override OUT: u32;
override BLOCKS: u32;
override GATE: u32;

@group(0) @binding(4) var<storage, read> table: array<i32>;
@group(0) @binding(5) var<storage, read_write> q: array<u32>;
@group(0) @binding(6) var<storage, read_write> groups: array<u32>;

var<workgroup> ups: array<i32, 64>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let t = group.y;
  let lane = lane_of(lid);
  let j = lid / (4u * LANES);
  let block = min(group.x * 4u + j % 4u + j / 4u * (N / 16u), BLOCKS - 1u);
  let own = min(lane, G - 1u);
  let held = row_load(t, lid);
  let tile = tile_load(block, own, lid);
  let i = group.x * 64u + lid % 64u;
  let ends = ends_load(i + lid / 64u * N);
  row_take(held, lid);
  let product = tile_product(tile, t, own);
  let sum = select(vec4i(0), product >> vec4u(row_top() - row_exp(t, own) + SPARE), lane < G);
  product_finish(sum, block, t, lid);
  var v = 0;
  if (lid < TILES * 16u && i < N) {
    v = product_output(ends, lid);
  }
  if (GATE == 1u) {
    if (lid >= 64u && lid < 128u) {
      ups[lid - 64u] = v;
    }
    workgroupBarrier();
  }
  var y = 0;
  if (lid < 64u && i < N) {
    y = act(v);
    if (GATE == 1u) {
      y = mul_shift(y, ups[lid], 16u);
    }
  }
  group_put(t * OUT + group.x, y, lid);
}
