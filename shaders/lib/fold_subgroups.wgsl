// fold_subgroups.wgsl - fold.wgsl for GPUs with subgroups: one invocation of
// each brings its part. Nothing is assumed about the size of a subgroup or
// which invocations it has.

fn fold_add(v: u32) -> u32 {
  return subgroupAdd(v);
}

fn fold_max(v: u32) -> u32 {
  return subgroupMax(v);
}

fn fold_first() -> bool {
  return subgroupElect();
}
