// matmul_row.wgsl - the integer matrix product for few rows of quantised input.
// lib: fixed row_given product
//
//   w, m, consts, q, groups  see lib/product.wgsl, lib/row_given.wgsl
//   y       (T, LD) i32; where ADD is 1 it is the residual: the first N outputs
//           of each row are added to it, saturated, and where WIRE is 1 it then
//           takes its wire form (TILES and BLOCK are even, w and y not aliased)
//   dispatch (ceil(BLOCKS / TILES), T); it computes blocks BLOCK .. BLOCK +
//           BLOCKS - 1 of the matrix, w and m holding only these
//
// Reference: matmul_ref; add_out and end_task in forward.c; wire_put in wire.c.

override LD: u32;
override BLOCK: u32;
override BLOCKS: u32;
override N: u32;
override ADD: u32;
override WIRE: u32;

@group(0) @binding(5) var<storage, read_write> y: array<i32>;

var<workgroup> wire_tops: array<atomic<u32>, TILES>; // the first of each two

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let t = group.y;
  let lane = lane_of(lid);
  let block = min(group.x * TILES + lid / (4u * LANES), BLOCKS - 1u);
  let own = min(lane, G - 1u);
  let n = (BLOCK + group.x * TILES) * 16u + lid; // where lid < TILES * 16
  let valid = lid < TILES * 16u && group.x * TILES + lid / 16u < BLOCKS && n < N;
  let ends = ends_load(n);
  var v = 0;
  if (ADD == 1u && valid) {
    v = y[t * LD + n];
  }
  let product = tile_product(tile_load(block, own, lid), t, own);
  let own_exp = row_exp(t, own);
  row_take(t, lid);
  let sum = select(vec4i(0), product >> vec4u(row_top() - own_exp + SPARE), lane < G);
  product_finish(sum, block, t, lid);
  if (valid) {
    let out = product_output(ends, lid);
    v = select(out, sat(v + out), ADD == 1u);
  }
  if (WIRE == 1u) {
    if (valid) {
      atomicMax(&wire_tops[lid / 32u], abs_u(v));
    }
    workgroupBarrier();
    let e = int8_exp(atomicLoad(&wire_tops[min(lid / 32u, TILES - 1u)]));
    v = left_shift(int8_of(v, e), e);
  }
  if (valid) {
    y[t * LD + n] = v;
  }
}
