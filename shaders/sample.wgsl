// sample.wgsl - from a row of logits to its token: penalties and biases, then
// the largest, or top_k, top_p and Gumbel-max; one row a workgroup.
// lib: fixed wide reduce logarithm
//
//   logits  (H, LD) i32 Q16; penalties and biases change them in place
//   heads   (H) vec4u: row, answer, flags, steps. Flags: 1 the token is fed
//           next (into ids), 2 the row goes on for so many steps: the row's
//           position and the answer move on by one, so that the same dispatch
//           can be made again for the next token; after its last step it stays
//           where it is, and all that is made again for it is the same
//   rows    (T) vec4u: slot, position, -, -
//   ids     (slots, CTX) token at each position
//   params  (slots, 16): inv_temp, top_p, top_k, seed low, seed high,
//           presence, frequency, n_prompt, first bias, n_bias, logprobs
//           wanted, n_top, and four unused
//   biases  (token, add)
//   tables  exp2, log2, logh
//   answers tokens; from PROBS on 41 words an answer: log-probability, then
//           n_top of (token, log-probability)
//   dispatch (H)
//
// No two bindings alias.
// Reference: volunteer/engine/sampler.c, which explains the steps.

override VOCAB: u32;
override LD: u32;
override CTX: u32;
override PROBS: u32;

const GUMBEL_MAX: i32 = 1507328; // 23 in Q16: above any noise
const LOG2_E_Q16: i32 = 94548;

@group(0) @binding(0) var<storage, read_write> logits: array<i32>;
@group(0) @binding(1) var<storage, read_write> heads: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> rows: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
@group(0) @binding(4) var<storage, read> params: array<u32>;
@group(0) @binding(5) var<storage, read> biases: array<vec2i>;
@group(0) @binding(6) var<storage, read> tables: array<i32>;
@group(0) @binding(7) var<storage, read_write> answers: array<u32>;

var<workgroup> bins_low: array<atomic<u32>, 1024>;
var<workgroup> bins_high: array<atomic<u32>, 1024>;
var<workgroup> lots: array<vec2u, 32>;
var<workgroup> found: vec4u; // digit, what is left of the target
var<workgroup> head: vec4u;
var<workgroup> row: vec4u;

struct Row {
  first: u32, // of its logits
  max: i32,
  inv_temp: i32,
}

// Step 1: each token that occurs behind the prompt is done where it occurs
// first.
fn penalise(first: u32, slot: u32, position: u32, lid: u32) {
  let presence = bitcast<i32>(params[slot * 16u + 5u]);
  let frequency = bitcast<i32>(params[slot * 16u + 6u]);
  let base = params[slot * 16u + 7u];
  if (presence == 0 && frequency == 0) {
    return;
  }
  for (var p = base + lid; p <= position; p += WG) {
    let token = ids[slot * CTX + p];
    var n = 0;
    var is_first = true;
    for (var o = base; o <= position; o++) {
      if (ids[slot * CTX + o] == token) {
        n++;
        is_first = is_first && o >= p;
      }
    }
    if (is_first) {
      let less = wide_add(wide_mul(n, frequency), wide_of(presence));
      logits[first + token] = wide_sat(wide_add(wide_of(logits[first + token]), wide_neg(less)));
    }
  }
}

fn add_biases(first: u32, slot: u32, lid: u32) {
  let base = params[slot * 16u + 8u];
  if (lid == 0u) {
    for (var i = base; i < base + params[slot * 16u + 9u]; i++) {
      let at = first + u32(biases[i].x);
      logits[at] = sat(logits[at] + biases[i].y);
    }
  }
}

// The largest over the workgroup of values above -2^31.
fn largest(v: i32, lid: u32) -> i32 {
  return i32(reduce_max(u32(v) ^ 0x80000000u, lid) ^ 0x80000000u);
}

fn lowest(id: u32, lid: u32) -> u32 {
  return ~reduce_max(~id, lid);
}

struct Top {
  max: i32,
  own: i32, // of this invocation, and its lowest id
  own_id: u32,
}

fn top_logit(first: u32, lid: u32) -> Top {
  var own = -VALUE_MAX - 1;
  var own_id = 0u;
  for (var i = lid; i < VOCAB; i += 32u * WG) {
    var l: array<i32, 32>; // the last one is seen again where there are fewer
    for (var k = 0u; k < 32u; k++) {
      l[k] = logits[first + min(i + k * WG, VOCAB - 1u)];
    }
    for (var k = 0u; k < 32u; k++) {
      if (l[k] > own) {
        own = l[k];
        own_id = min(i + k * WG, VOCAB - 1u);
      }
    }
  }
  return Top(largest(own, lid), own, own_id);
}

fn below(r: Row, i: u32) -> i32 {
  return mul_shift(r.max - logits[r.first + i], r.inv_temp, 16u);
}

// exp(-b) in Q30 for b >= 0 in Q16.
fn weight(b: i32) -> u32 {
  let z = u32(mul_shift(b, LOG2_E_Q16, 16u));
  return u32(round_shift(tables[(z >> 4u) & 4095u], z >> 16u));
}

fn sum_to(r: Row, limit: i32, lid: u32) -> vec2u {
  var own = vec2u(0u, 0u);
  for (var i = lid; i < VOCAB; i += WG) {
    let b = below(r, i);
    if (b <= limit) {
      own = wide_add(own, vec2u(weight(b), 0u));
    }
  }
  return reduce_add64(own, lid);
}

fn bin(i: u32) -> vec2u {
  return vec2u(atomicLoad(&bins_low[i]), atomicLoad(&bins_high[i]));
}

// Leaves in `found` the first bin at which the sum reaches target.
fn find_bin(target_sum: vec2u, lid: u32) {
  if (lid < 32u) {
    var sum = vec2u(0u, 0u);
    for (var i = 0u; i < 32u; i++) {
      sum = wide_add(sum, bin(32u * lid + i));
    }
    lots[lid] = sum;
  }
  workgroupBarrier();
  if (lid == 0u) {
    var left = target_sum;
    var lot = 0u;
    while (lot < 31u && wide_less(lots[lot], left)) {
      left = wide_add(left, wide_neg(lots[lot]));
      lot++;
    }
    var digit = 32u * lot;
    while (digit < 32u * lot + 31u && wide_less(bin(digit), left)) {
      left = wide_add(left, wide_neg(bin(digit)));
      digit++;
    }
    found = vec4u(digit, left, 0u);
  }
}

// The least theta for which the sum over b <= theta reaches target: digit by
// digit of 10 bits, from the top.
fn theta_find(r: Row, target_sum: vec2u, by_weight: bool, lid: u32) -> i32 {
  var prefix = 0u;
  var left = target_sum;
  for (var digits = 0u; digits < 3u; digits++) {
    let s = 20u - 10u * digits;
    workgroupBarrier();
    for (var i = lid; i < 1024u; i += WG) {
      atomicStore(&bins_low[i], 0u);
      atomicStore(&bins_high[i], 0u);
    }
    workgroupBarrier();
    for (var i = lid; i < VOCAB; i += WG) {
      let b = below(r, i);
      if ((u32(b) >> s) >> 10u == prefix) {
        let at = (u32(b) >> s) & 1023u;
        let part = select(1u, weight(b), by_weight);
        if (atomicAdd(&bins_low[at], part) > ~part) {
          atomicAdd(&bins_high[at], 1u);
        }
      }
    }
    workgroupBarrier();
    find_bin(left, lid);
    let f = workgroupUniformLoad(&found);
    prefix = (prefix << 10u) | f.x;
    left = f.yz;
  }
  return i32(prefix);
}

// top_p of total, rounded up; total < 2^51.
fn share(total: vec2u, top_p: u32) -> vec2u {
  let whole = wide_shr(total, 16u);
  let high = vec2u(0u, whole.y * top_p);
  let rest = ((total.x & 0xffffu) * top_p + 0xffffu) >> 16u;
  return wide_add(wide_add(wide_mul_u(whole.x, top_p), high), vec2u(rest, 0u));
}

fn kept_limit(r: Row, top_p: u32, top_k: u32, lid: u32) -> i32 {
  var limit = VALUE_MAX;
  if (top_k > 0u && top_k < VOCAB) {
    limit = theta_find(r, vec2u(top_k, 0u), false, lid);
  }
  if (top_p < 65536u) {
    let theta = theta_find(r, share(sum_to(r, limit, lid), top_p), true, lid);
    limit = min(limit, theta);
  }
  return limit;
}

// Philox4x32-10 of counter (position, block, 0, 0).
fn philox(position: u32, block: u32, key: vec2u) -> vec4u {
  var x = vec4u(position, block, 0u, 0u);
  var k = key;
  for (var i = 0u; i < 10u; i++) {
    let p0 = wide_mul_u(0xD2511F53u, x.x);
    let p1 = wide_mul_u(0xCD9E8D57u, x.z);
    x = vec4u(p1.y ^ x.y ^ k.x, p1.x, p0.y ^ x.w ^ k.y, p0.x);
    k += vec2u(0x9E3779B9u, 0xBB67AE85u);
  }
  return x;
}

fn gumbel_max(r: Row, limit: i32, key: vec2u, position: u32, lid: u32) -> u32 {
  var best = 0xffffffffu;
  var best_score = -0x7fffffff - 1;
  for (var block = lid; block * 4u < VOCAB; block += WG) {
    var words: vec4u;
    var have = false;
    for (var k = 0u; k < 4u && block * 4u + k < VOCAB; k++) {
      let i = block * 4u + k;
      let b = below(r, i);
      if (b > limit || GUMBEL_MAX - b <= best_score) {
        continue;
      }
      if (!have) {
        words = philox(position, block, key);
        have = true;
      }
      let score = gumbel(words[k]) - b;
      if (score > best_score) {
        best_score = score;
        best = i;
      }
    }
  }
  let top_score = largest(best_score, lid);
  return lowest(select(0xffffffffu, best, best_score == top_score), lid);
}

fn logprob(r: Row, log_sum: i32, token: u32) -> i32 {
  return sat(logits[r.first + token] - r.max) - log_sum;
}

// The next largest after (value, id), ties by id.
fn next_largest(first: u32, value: i32, id: u32, lid: u32) -> vec2u {
  var own = -0x7fffffff - 1;
  var own_id = 0xffffffffu;
  for (var i = lid; i < VOCAB; i += WG) {
    let l = logits[first + i];
    if ((l < value || (l == value && i > id)) && l > own) {
      own = l;
      own_id = i;
    }
  }
  let top = largest(own, lid);
  return vec2u(lowest(select(0xffffffffu, own_id, own == top), lid), u32(top));
}

fn put_logprobs(r: Row, answer: u32, token: u32, n_top: u32, lid: u32) {
  var own = vec2u(0u, 0u);
  for (var i = lid; i < VOCAB; i += WG) {
    own = wide_add(own, vec2u(weight(sat(r.max - logits[r.first + i])), 0u));
  }
  let log = log_2(reduce_add64(own, lid)) - log_2(vec2u(u32(tables[0]), 0u));
  let log_sum = round_shift(log_natural(log), 8u);
  let at = PROBS + answer * 41u;
  var last = vec2u(0u, u32(VALUE_MAX) + 1u); // before the first
  for (var k = 0u; k < n_top; k++) {
    let next = next_largest(r.first, i32(last.y), last.x, lid);
    if (next.x != 0xffffffffu) { // else the vocabulary has fewer
      last = next;
    }
    if (lid == 0u) {
      answers[at + 1u + 2u * k] = last.x;
      answers[at + 2u + 2u * k] = u32(logprob(r, log_sum, last.x));
    }
  }
  if (lid == 0u) {
    answers[at] = u32(logprob(r, log_sum, token));
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  if (lid == 0u) {
    head = heads[group.x];
    row = rows[head.x];
  }
  let h = workgroupUniformLoad(&head);
  let slot_position = workgroupUniformLoad(&row);
  let slot = slot_position.x;
  let position = slot_position.y;
  if ((h.z & 2u) != 0u && h.w == 0u) {
    return;
  }
  let p = slot * 16u;
  let first = group.x * LD;
  penalise(first, slot, position, lid);
  storageBarrier();
  add_biases(first, slot, lid);
  storageBarrier();
  let inv_temp = i32(min(params[p], 0x7fffffffu));
  let best = top_logit(first, lid);
  let r = Row(first, best.max, inv_temp);
  var token: u32;
  if (inv_temp == 0) {
    token = lowest(select(0xffffffffu, best.own_id, best.own == best.max), lid);
  } else {
    let limit = kept_limit(r, params[p + 1u], params[p + 2u], lid);
    token = gumbel_max(r, limit, vec2u(params[p + 3u], params[p + 4u]), position + 1u, lid);
  }
  if (params[p + 10u] != 0u) {
    put_logprobs(r, h.y, token, params[p + 11u], lid);
  }
  if (lid == 0u) {
    answers[h.y] = token;
    if ((h.z & 1u) != 0u) {
      ids[slot * CTX + position + 1u] = token;
    }
    if ((h.z & 2u) != 0u && h.w > 1u) {
      heads[group.x] = vec4u(h.x, h.y + 1u, h.z, h.w - 1u);
      rows[h.x].y = position + 1u;
    } else {
      heads[group.x].w = 0u; // what is made again after this changes nothing
    }
  }
}
