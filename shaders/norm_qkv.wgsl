// norm_qkv.wgsl - the residual's norm, the qkv matrix and what heads.wgsl does
// with its outputs, for few rows, each of another sequence; a workgroup has one
// head.
// lib: fixed wide fold row_norm product head
//
//   w, m, consts, x  see lib/product.wgsl, lib/row_norm.wgsl
//   rows, heads, cache, rope  see lib/head.wgsl
//   dispatch (HEADS + 2 KV, T); DIM is 16 TILES
//
// No two bindings alias. Reference: engine_norm_ref, matmul_ref, store_task
// (forward.c), rope.c, attention_store.

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let t = group.y;
  let lane = lane_of(lid);
  let block = group.x * TILES + lid / (4u * LANES);
  let own = min(lane, G - 1u);
  let held = row_load(t, lid);
  let tile = tile_load(block, own, lid);
  let ends = ends_load(group.x * DIM + lid);
  let place = head_place(t, group.x);
  row_take(held, lid);
  let product = tile_product(tile, t, own);
  let sum = select(vec4i(0), product >> vec4u(row_top() - row_exp(t, own) + SPARE), lane < G);
  product_finish(sum, block, t, lid);
  if (lid < DIM) {
    head_values[lid] = product_output(ends, lid);
  }
  workgroupBarrier();
  head_put(place, t, group.x, lid);
}
