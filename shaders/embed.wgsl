// embed.wgsl - a token's row of the packed embedding, and its position's.
// lib: fixed
//
//   rows      (T) vec4u: slot, position, -, -
//   ids       (slots, CTX) token at each position of a slot
//   w, m, e   packed (format.h): blocks BLOCK .. BLOCK + BLOCKS - 1 of it, the
//             tokens of other blocks being left to another dispatch
//   position  (CTX, C) where POSITION is 1
//   x         (T, STRIDE) the residual; written up to C, STRIDE a multiple of 64
//   dispatch  (ceil(C / 256), T)
//
// No two bindings alias.
// Reference: embed() in volunteer/engine/forward.c.

override C: u32;
override G: u32;
override STRIDE: u32;
override CTX: u32;
override BLOCK: u32;
override BLOCKS: u32;
override POSITION: u32;

@group(0) @binding(0) var<storage, read> rows: array<vec4u>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> m: array<u32>;
@group(0) @binding(4) var<storage, read> e: array<i32>;
@group(0) @binding(5) var<storage, read> position: array<i32>;
@group(0) @binding(6) var<storage, read_write> x: array<i32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  let row = rows[id.y];
  let token = ids[row.x * CTX + row.y];
  let block = token / 16u - BLOCK;
  if (i >= C || block >= BLOCKS) { // a block before BLOCK wraps to a large one
    return;
  }
  let r = token % 16u;
  let tile = block * G + i / 64u;
  let k = i % 64u;
  let byte = extractBits(w[tile * 256u + k / 4u * 16u + r], (k % 4u) * 8u, 8u);
  let mantissa = extractBits(m[tile * 4u + r / 4u], (r % 4u) * 8u, 8u);
  var v = shift((i32(byte) - 64) * i32(mantissa), e[token]);
  if (POSITION == 1u) {
    v = sat(v + position[row.y * C + i]);
  }
  x[id.y * STRIDE + i] = v;
}
