// norm.wgsl - residual rows through LayerNorm or RMSNorm into int8, one row a
// workgroup; first, where asked, what the last matrix gave is added and the row
// takes its wire form.
// lib: fixed wide reduce quantise
//
//   x       (T, STRIDE) the residual; read, and written where ADD or WIRE
//   more    (T, LD) added to x where ADD is 1
//   gain    (C), bias (C) where CENTRE is 1
//   q       (T, G * 16) words of four int8, k = 4 word + byte; zeros past C
//   groups  (T, G) corr << 5 | e, see lib/quantise.wgsl
//   heads   (T) vec4u: row, answer, -, -; read where FINAL is 1: output row i is
//           made of row heads[i].x, and its wire form goes to
//   wires   (answers, ceil(C / 4) + ceil(C / 32)): mantissas, then exponents,
//           one a word
//   dispatch (T)
//
// No two bindings alias. Bounds as in the reference: engine_norm_ref (norm.c),
// end_task (forward.c), wire_put (wire.c) in volunteer/engine.

override C: u32;
override G: u32;
override STRIDE: u32;
override LD: u32;
override ADD: u32;
override WIRE: u32; // the row crosses a shard boundary here
override FINAL: u32;
override CENTRE: u32; // LayerNorm, else RMSNorm
override EPS_LOW: u32;
override EPS_HIGH: u32;

@group(0) @binding(0) var<storage, read_write> x: array<i32>;
@group(0) @binding(1) var<storage, read> more: array<i32>;
@group(0) @binding(2) var<storage, read> gain: array<i32>;
@group(0) @binding(3) var<storage, read> bias: array<i32>;
@group(0) @binding(4) var<storage, read_write> q: array<u32>;
@group(0) @binding(5) var<storage, read_write> groups: array<u32>;
@group(0) @binding(6) var<storage, read> heads: array<vec4u>;
@group(0) @binding(7) var<storage, read_write> wires: array<u32>;

// Four neighbouring values of a row from i on; 0 past C.
fn load4(row: u32, i: u32) -> vec4i {
  var v = vec4i(0);
  for (var k = 0u; k < 4u; k++) {
    if (i + k < C) {
      v[k] = x[row * STRIDE + i + k];
    }
  }
  return v;
}

fn store4(row: u32, i: u32, v: vec4i) {
  for (var k = 0u; k < 4u; k++) {
    if (i + k < C) {
      x[row * STRIDE + i + k] = v[k];
    }
  }
}

fn added4(row: u32, i: u32) -> vec4i {
  var v = load4(row, i);
  for (var k = 0u; k < 4u; k++) {
    if (i + k < C) {
      v[k] = sat(v[k] + more[row * LD + i + k]);
    }
  }
  return v;
}

// The exponent of the group of 32 that eight invocations share.
fn wire_exp(v: vec4i, lid: u32) -> u32 {
  let first = lid & 0xf8u;
  var top = 0u;
  workgroupBarrier();
  quad_max[lid] = max_abs4(v);
  workgroupBarrier();
  for (var i = 0u; i < 8u; i++) {
    top = max(top, quad_max[first + i]);
  }
  return int8_exp(top);
}

fn put_wire(answer: u32, i: u32, v: vec4i, e: u32) {
  let words = (C + 3u) / 4u;
  let at = answer * (words + (C + 31u) / 32u);
  if (i < C) {
    wires[at + i / 4u] = pack4xI8(int8_of4(v, e));
    if (i % 32u == 0u) {
      wires[at + words + i / 32u] = e;
    }
  }
}

// Take a row in; the largest and the sum of this invocation's values.
fn take(row: u32, answer: u32, lid: u32) -> vec2u {
  var sum = vec2u(0u, 0u);
  for (var base = 0u; base < C; base += 4u * WG) {
    let i = base + 4u * lid;
    var v: vec4i;
    if (ADD == 1u) {
      v = added4(row, i);
    } else {
      v = load4(row, i);
    }
    if (WIRE == 1u || FINAL == 1u) {
      let e = wire_exp(v, lid);
      if (FINAL == 1u) {
        put_wire(answer, i, v, e);
      }
      if (WIRE == 1u) {
        let m = int8_of4(v, e);
        v = vec4i(left_shift(m.x, e), left_shift(m.y, e), left_shift(m.z, e), left_shift(m.w, e));
      }
    }
    if (ADD == 1u || WIRE == 1u) {
      store4(row, i, v);
    }
    for (var k = 0u; k < 4u; k++) {
      sum = wide_add(sum, wide_of(v[k]));
    }
  }
  return sum;
}

// x - mean, shifted into 24 bits.
fn deviation(v: i32, mean: i32, s: u32) -> i32 {
  return clamp(round_shift(v - mean, s), -0xffffff, 0xffffff);
}

struct Factor {
  inv: i32,
  shift: u32,
}

fn factor_of(sum: vec2u, s: u32) -> Factor {
  var v = wide_add(wide_div(sum, C), wide_round_shr(vec2u(EPS_LOW, EPS_HIGH), 2u * s));
  if (v.x == 0u && v.y == 0u) {
    v.x = 1u;
  }
  let k = (i32(wide_bits(v)) - 31) >> 1u;
  var m: u32;
  if (k >= 0) {
    m = wide_shr(v, u32(2 * k)).x;
  } else {
    m = v.x << u32(-2 * k);
  }
  var root = 0u;
  for (var bit = 1u << 15u; bit > 0u; bit >>= 1u) {
    if ((root + bit) * (root + bit) <= m) {
      root += bit;
    }
  }
  let rest = 0x80000000u % root;
  let inv = 0x80000000u / root + select(0u, 1u, rest >= root - rest);
  return Factor(i32(inv), u32(15 + k));
}

fn mean_of(sum: vec2u) -> i32 {
  if ((sum.y >> 31u) == 1u) {
    return -i32(wide_div(wide_neg(sum), C).x);
  }
  return i32(wide_div(sum, C).x);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  let t = group.x;
  var row = t;
  var answer = 0u;
  if (FINAL == 1u) {
    row = heads[t].x;
    answer = heads[t].y;
  }
  let own = take(row, answer, lid);
  var mean = 0;
  if (CENTRE == 1u) {
    mean = mean_of(reduce_add64(own, lid));
  }
  var top = 0u;
  for (var i = 4u * lid; i < C; i += 4u * WG) {
    let v = load4(row, i);
    for (var k = 0u; k < 4u; k++) {
      if (i + k < C) {
        top = max(top, abs_u(v[k] - mean));
      }
    }
  }
  let b = bits(reduce_max(top, lid));
  let s = select(0u, b - 24u, b > 24u);
  var squares = vec2u(0u, 0u);
  for (var i = 4u * lid; i < C; i += 4u * WG) {
    let v = load4(row, i);
    for (var k = 0u; k < 4u; k++) {
      if (i + k < C) {
        let d = abs_u(deviation(v[k], mean, s));
        squares = wide_add(squares, wide_mul_u(d, d));
      }
    }
  }
  let f = factor_of(reduce_add64(squares, lid), s);
  for (var base = 0u; base < G * 64u; base += 4u * WG) {
    let i = base + 4u * lid;
    let v = load4(row, i);
    var y = vec4i(0);
    for (var k = 0u; k < 4u; k++) {
      if (i + k < C) {
        y[k] = mul_shift(mul_shift(deviation(v[k], mean, s), f.inv, f.shift), gain[i + k], 16u);
        if (CENTRE == 1u) {
          y[k] = sat(y[k] + bias[i + k]);
        }
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
}
