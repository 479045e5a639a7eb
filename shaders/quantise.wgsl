// quantise.wgsl - rows of values to int8 in groups of 64.
// lib: fixed quantise
//
//   v       (T, LD) i32, |v| < 2^30; N of each row count
//   q       (T, G * 16) words of four int8; zeros past N
//   groups  (T, G) corr << 5 | e
//   dispatch (ceil(G / 16), T)
//
// No two bindings alias.
// Reference: engine_quantise_ref in volunteer/engine/quantise_row.c.

override N: u32;
override G: u32;
override LD: u32;

@group(0) @binding(0) var<storage, read> v: array<i32>;
@group(0) @binding(1) var<storage, read_write> q: array<u32>;
@group(0) @binding(2) var<storage, read_write> groups: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let t = group.y;
  let i = group.x * 1024u + 4u * lid;
  var y = vec4i(0);
  for (var k = 0u; k < 4u; k++) {
    if (i + k < N) {
      y[k] = v[t * LD + i + k];
    }
  }
  let quad = quantise_quad(y, lid);
  if (i < G * 64u) {
    q[t * G * 16u + i / 4u] = quad.word;
    if (i % 64u == 0u) {
      groups[t * G + i / 64u] = quad.group;
    }
  }
}
