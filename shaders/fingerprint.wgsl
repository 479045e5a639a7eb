// fingerprint.wgsl - SipHash-2-4 with 128 bits of rows in their wire form, one
// row an invocation.
// lib: fixed wide
//
//   wires   (N, ceil(C / 4) + ceil(C / 32)): see wire.wgsl
//   job     seed low, seed high, N
//   prints  (N, 4)
//   dispatch (ceil(N / 64))
//
// Reference: redun_print in redundancy/fingerprint.c.

override C: u32;

@group(0) @binding(0) var<storage, read> wires: array<u32>;
@group(0) @binding(1) var<storage, read> job: array<u32>;
@group(0) @binding(2) var<storage, read_write> prints: array<vec4u>;

struct Sip {
  v0: vec2u,
  v1: vec2u,
  v2: vec2u,
  v3: vec2u,
}

// Left by 1 .. 31.
fn rotate(v: vec2u, s: u32) -> vec2u {
  return vec2u((v.x << s) | (v.y >> (32u - s)), (v.y << s) | (v.x >> (32u - s)));
}

fn rounds(sip: Sip, n: u32) -> Sip {
  var s = sip;
  for (var i = 0u; i < n; i++) {
    s.v0 = wide_add(s.v0, s.v1);
    s.v1 = rotate(s.v1, 13u) ^ s.v0;
    s.v0 = s.v0.yx;
    s.v2 = wide_add(s.v2, s.v3);
    s.v3 = rotate(s.v3, 16u) ^ s.v2;
    s.v0 = wide_add(s.v0, s.v3);
    s.v3 = rotate(s.v3, 21u) ^ s.v0;
    s.v2 = wide_add(s.v2, s.v1);
    s.v1 = rotate(s.v1, 17u) ^ s.v2;
    s.v2 = s.v2.yx;
  }
  return s;
}

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

fn finish(s: Sip) -> vec2u {
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= job[2]) {
    return;
  }
  let at = id.x * ((C + 3u) / 4u + (C + 31u) / 32u);
  let len = C + (C + 31u) / 32u;
  let k0 = vec2u(job[0], job[1]);
  let key1 = vec2u(0x50314e59u, 0x544e4952u);
  var s = Sip(k0 ^ vec2u(0x70736575u, 0x736f6d65u), key1 ^ vec2u(0x6e646f6du ^ 0xeeu, 0x646f7261u),
    k0 ^ vec2u(0x6e657261u, 0x6c796765u), key1 ^ vec2u(0x79746573u, 0x74656462u));
  for (var j = 0u; j <= len; j += 8u) {
    var m = vec2u(word_of(at, j), word_of(at, j + 4u));
    if (j + 8u > len) {
      m.y |= (len & 255u) << 24u;
    }
    s.v3 ^= m;
    s = rounds(s, 2u);
    s.v0 ^= m;
  }
  s.v2.x ^= 0xeeu;
  s = rounds(s, 4u);
  let a = finish(s);
  s.v1.x ^= 0xddu;
  s = rounds(s, 4u);
  prints[id.x] = vec4u(a, finish(s));
}
