// fingerprint.wgsl - SipHash-2-4 with 128 bits of rows in their wire form, one
// row an invocation.
// lib: fixed wide sip
//
//   wires   (N, ceil(C / 4) + ceil(C / 32)): see wire.wgsl
//   job     seed low, seed high, N
//   prints  (N, 4)
//   dispatch (ceil(N / 64))
//
// No two bindings alias.
// Reference: redun_print in redundancy/fingerprint.c.

override C: u32;

@group(0) @binding(0) var<storage, read> wires: array<u32>;
@group(0) @binding(1) var<storage, read> job: array<u32>;
@group(0) @binding(2) var<storage, read_write> prints: array<vec4u>;

// Byte j of a row that begins at `at`; 0 past its end.
fn byte_of(at: u32, j: u32) -> u32 {
  if (j < C) {
    return extractBits(wires[at + j / 4u], (j % 4u) * 8u, 8u);
  }
  let e = j - C;
  if (e < (C + 31u) / 32u) {
    return wires[at + (C + 3u) / 4u + e] & 255u;
  }
  return 0u;
}

fn word_of(at: u32, j: u32) -> u32 {
  if (j + 4u <= C) { // j is a multiple of 4
    return wires[at + j / 4u];
  }
  return byte_of(at, j) | (byte_of(at, j + 1u) << 8u) | (byte_of(at, j + 2u) << 16u) |
    (byte_of(at, j + 3u) << 24u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= job[2]) {
    return;
  }
  let at = id.x * ((C + 3u) / 4u + (C + 31u) / 32u);
  let len = C + (C + 31u) / 32u;
  var s = sip_begin(vec2u(job[0], job[1]), vec2u(0x50314e59u, 0x544e4952u));
  for (var j = 0u; j <= len; j += 8u) {
    var m = vec2u(word_of(at, j), word_of(at, j + 4u));
    if (j + 8u > len) {
      m.y |= (len & 255u) << 24u;
    }
    s = sip_word(s, m);
  }
  prints[id.x] = sip_end(s);
}
