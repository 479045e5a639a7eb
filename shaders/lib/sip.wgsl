// sip.wgsl - SipHash-2-4 with 128 bits, word by word; 64-bit words as in wide.wgsl,
// which it needs. Reference: redun_siphash in redundancy/fingerprint.c.

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

fn sip_begin(k0: vec2u, k1: vec2u) -> Sip {
  return Sip(k0 ^ vec2u(0x70736575u, 0x736f6d65u), k1 ^ vec2u(0x6e646f6du ^ 0xeeu, 0x646f7261u),
    k0 ^ vec2u(0x6e657261u, 0x6c796765u), k1 ^ vec2u(0x79746573u, 0x74656462u));
}

fn sip_word(sip: Sip, word: vec2u) -> Sip {
  var s = sip;
  s.v3 ^= word;
  s = rounds(s, 2u);
  s.v0 ^= word;
  return s;
}

fn finish(s: Sip) -> vec2u {
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

// The hash, after the last word (which tells the length).
fn sip_end(sip: Sip) -> vec4u {
  var s = sip;
  s.v2.x ^= 0xeeu;
  s = rounds(s, 4u);
  let a = finish(s);
  s.v1.x ^= 0xddu;
  s = rounds(s, 4u);
  return vec4u(a, finish(s));
}
