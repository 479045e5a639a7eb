// fold.wgsl - what invocations bring together before one of them goes to
// workgroup memory: nothing, on GPUs without subgroups. fold_subgroups.wgsl has
// the same functions for those with them.

fn fold_add(v: u32) -> u32 {
  return v;
}

fn fold_max(v: u32) -> u32 {
  return v;
}

// Whether this invocation brings what was folded.
fn fold_first() -> bool {
  return true;
}
