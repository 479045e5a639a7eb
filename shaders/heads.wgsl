// heads.wgsl - what the qkv matrix gave, head by head: q becomes int8 for the
// scores, k and v go into the cache.
// lib: fixed wide head
//
//   qkv     (T, LD) i32: HEADS heads of q, KV of k, KV of v, each of DIM
//   rows, heads, cache, rope  see lib/head.wgsl
//   dispatch (HEADS + 2 KV, T)
//
// No two bindings alias.
// Reference: store_task (forward.c), rope.c, attention_store.

override LD: u32;

@group(0) @binding(3) var<storage, read> qkv: array<i32>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lid: u32) {
  if (lid < DIM) {
    head_values[lid] = qkv[group.y * LD + group.x * DIM + lid];
  }
  workgroupBarrier();
  head_put(head_place(group.y, group.x), group.y, group.x, lid);
}
