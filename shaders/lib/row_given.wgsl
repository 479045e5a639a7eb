// row_given.wgsl - the row of a product as an earlier dispatch quantised it.
//
//   q       (T, G * 4) vec4u: 16 int8 each
//   groups  (T, G) corr << 5 | e

@group(0) @binding(3) var<storage, read> q: array<vec4u>;
@group(0) @binding(4) var<storage, read> groups: array<u32>;

var<workgroup> given_top: atomic<u32>;

// All invocations come here together, before row_top.
fn row_take(row: u32, lid: u32) {
  for (var g = lid; g < G; g += WG) {
    atomicMax(&given_top, groups[row * G + g] & 31u);
  }
  workgroupBarrier();
}

fn row_top() -> u32 {
  return atomicLoad(&given_top);
}

fn row_exp(row: u32, g: u32) -> u32 {
  return groups[row * G + g] & 31u;
}

// Words 4 k .. 4 k + 3 of a group.
fn row_words(row: u32, g: u32, k: u32) -> vec4u {
  return q[(row * G + g) * 4u + k];
}
