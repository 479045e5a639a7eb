// norm.wgsl - rows of the residual through LayerNorm or RMSNorm into int8, one
// row a workgroup.
// lib: fixed wide fold row_norm
//
//   consts, x  see lib/row_norm.wgsl
//   q       (T, G * 16) words of four int8; zeros past C
//   groups  (T, G) corr << 5 | e, see lib/quantise.wgsl
//   heads   (T) vec4u: row, answer, -, -; read where FINAL is 1: output row i is
//           made of row heads[i].x, and its wire form goes to
//   wires   (answers, ceil(C / 4) + ceil(C / 32)): see wire.wgsl
//   dispatch (T)
//
// No two bindings alias. Reference: engine_norm_ref, engine_quantise_ref;
// wire_put (wire.c).

override G: u32;
override WG: u32;
override FINAL: u32;

@group(0) @binding(2) var<storage, read> consts: array<vec4i>;
@group(0) @binding(4) var<storage, read_write> q: array<u32>;
@group(0) @binding(5) var<storage, read_write> groups: array<u32>;
@group(0) @binding(6) var<storage, read> heads: array<vec4u>;
@group(0) @binding(7) var<storage, read_write> wires: array<u32>;

var<workgroup> wire_tops: array<atomic<u32>, G * 2>;

fn put_wires(row: u32, answer: u32, lid: u32) {
  let words = (C + 3u) / 4u;
  let at = answer * (words + (C + 31u) / 32u);
  for (var i = lid; i < words; i += WG) {
    atomicMax(&wire_tops[i / 8u], max_abs4(x[row * G * 16u + i]));
  }
  workgroupBarrier();
  for (var i = lid; i < words; i += WG) {
    let e = int8_exp(atomicLoad(&wire_tops[i / 8u]));
    wires[at + i] = pack4xI8(int8_of4(x[row * G * 16u + i], e));
    if (i % 8u == 0u) {
      wires[at + words + i / 8u] = e;
    }
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let t = group.x;
  var row = t;
  if (FINAL == 1u) {
    row = heads[t].x;
    put_wires(row, heads[t].y, lid);
  }
  row_take(row_load(row, lid), lid);
  for (var i = lid; i < G * 16u; i += WG) {
    q[t * G * 16u + i] = norm_words[i / 16u * 17u + i % 16u];
  }
  for (var g = lid; g < G; g += WG) {
    var sum = 0;
    for (var k = 0u; k < 16u; k++) {
      sum += dot4I8Packed(norm_words[g * 17u + k], 0x01010101u);
    }
    groups[t * G + g] = (u32(sum * 64) << 5u) | row_exp(row, g);
  }
}
