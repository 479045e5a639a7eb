// project.wgsl - tolerant fingerprints of rows in their wire form: projections on
// vectors of +1 and -1, one row a workgroup.
// lib: fixed wide sip
//
//   wires   (N, ceil(C / 4) + ceil(C / 32)): see wire.wgsl; C is at most 65536
//   job     seed low, seed high, -
//   rows    (N) vec4u: -, position, -, -
//   prints  (N, 4)
//   dispatch (N)
//
// Sums are taken modulo 2^32, so their order is free.
// No two bindings alias.
// Reference: redun_project in redundancy/project.c.

override C: u32;

@group(0) @binding(0) var<storage, read> wires: array<u32>;
@group(0) @binding(1) var<storage, read> job: array<u32>;
@group(0) @binding(2) var<storage, read_write> prints: array<vec4u>;
@group(0) @binding(3) var<storage, read> rows: array<vec4u>;

const WG: u32 = 64u;
const EXP_MAX: u32 = 24u;
const SPAN: u32 = 9u;
const FRACTION: i32 = 8;
const PROJECTIONS: u32 = 15u;

var<workgroup> largest: atomic<u32>; // exponent that a group needs
var<workgroup> units: atomic<u32>;
var<workgroup> sums: array<atomic<u32>, 16>;

fn exponent(at: u32, g: u32) -> u32 {
  return min(wires[at + (C + 3u) / 4u + g], EXP_MAX);
}

// The exponent that group g of a row needs: without the zeros in front.
fn needed(at: u32, g: u32) -> u32 {
  var top = 0u;
  for (var i = g * 8u; i < min(g * 8u + 8u, (C + 3u) / 4u); i++) { // zeros past C
    top = max(top, max_abs4(unpack4xI8(wires[at + i])));
  }
  let e = exponent(at, g);
  return select(e - min(e, 7u - min(bits(top), 7u)), 0u, top == 0u);
}

// What stands in the last byte of a fingerprint.
fn scale_of(top: u32, sum: u32) -> u32 {
  let n = (C + 31u) / 32u;
  var e = 0u;
  while (e < SPAN && (n << (2u * e + 2u)) <= sum) {
    e++;
  }
  var f = 0u;
  while (f < 3u && (n << (2u * e)) * (7u + 3u * f) <= 4u * sum) {
    f++;
  }
  return 4u * (top + e - SPAN) + f;
}

// q * 2^s in units of 2^-FRACTION, rounded half up; modulo 2^32.
fn value_of(q: i32, s: i32) -> u32 {
  let by = s + FRACTION;
  if (q == 0 || by < -15) {
    return 0u;
  }
  return select(u32(round_shift(q, u32(-by))), u32(q) << u32(by & 31), by >= 0);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let at = group.x * ((C + 3u) / 4u + (C + 31u) / 32u);
  for (var g = lid; g < (C + 31u) / 32u; g += WG) {
    atomicMax(&largest, needed(at, g));
  }
  workgroupBarrier();
  let top = atomicLoad(&largest);
  for (var g = lid; g < (C + 31u) / 32u; g += WG) {
    let below = top - needed(at, g);
    if (below <= SPAN) {
      atomicAdd(&units, 1u << (2u * (SPAN - below)));
    }
  }
  workgroupBarrier();
  let scale = scale_of(top, atomicLoad(&units));
  var own: array<u32, 15>;
  for (var b = lid; b < (C + 7u) / 8u; b += WG) {
    var sip = sip_begin(vec2u(job[0], job[1]), vec2u(0x50324e59u, 0x544e4952u));
    sip = sip_word(sip, vec2u(b, rows[group.x].y));
    let signs = sip_end(sip_word(sip, vec2u(0u, 8u << 24u)));
    let by = i32(exponent(at, b / 4u)) - i32(scale / 4u);
    for (var i = 0u; i < 8u && b * 8u + i < C; i++) {
      let word = wires[at + b * 2u + i / 4u];
      let v = value_of(extractBits(i32(word), (i % 4u) * 8u, 8u), by);
      let sign = signs[i / 2u] >> ((i % 2u) * 16u);
      for (var p = 0u; p < PROJECTIONS; p++) {
        own[p] += select(0u - v, v, ((sign >> p) & 1u) == 1u);
      }
    }
  }
  for (var p = 0u; p < PROJECTIONS; p++) {
    atomicAdd(&sums[p], own[p]);
  }
  workgroupBarrier();
  if (lid == 0u) {
    let step = 6u + (bits(C) - 1u) / 2u;
    var print = vec4u(0u, 0u, 0u, scale << 24u);
    for (var p = 0u; p < PROJECTIONS; p++) {
      let y = (atomicLoad(&sums[p]) + (1u << (step - 1u))) >> step;
      print[p / 4u] |= (y & 255u) << (8u * (p % 4u));
    }
    prints[group.x] = print;
  }
}
