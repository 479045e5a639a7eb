// unwire.wgsl - rows in wire form (syn1.h) into the residual.
// lib: fixed
//
//   wires   (T, ceil(C / 4) + ceil(C / 32)): as wire.wgsl writes them
//   x       (T, G * 16) vec4i: the residual; written up to C, zeros behind
//   dispatch (ceil(C / 1024), T)
//
// No two bindings alias.
// Reference: wire_get in volunteer/engine/wire.c.

override C: u32;
override G: u32;

@group(0) @binding(0) var<storage, read> wires: array<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<vec4i>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let words = (C + 3u) / 4u;
  let at = group.y * (words + (C + 31u) / 32u);
  let i = group.x * 256u + lid;
  if (i < words) {
    let m = unpack4xI8(wires[at + i]);
    let e = wires[at + words + i / 8u];
    x[group.y * G * 16u + i] = vec4i(left_shift(m.x, e), left_shift(m.y, e), left_shift(m.z, e), left_shift(m.w, e));
  }
}
