// test_webgpu_probe.mjs - the WebGPU engine gives the committed answer, with
// and without subgroups.
// @ts-check

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { createHash } from "node:crypto";

import { openGpu, readShader, root } from "./webgpu_node.mjs";
import { parseProbe, prove } from "../../volunteer/web/probe.mjs";
import { WebGpuEngine } from "../../volunteer/web/webgpu_engine.mjs";

const gpu = openGpu();
const bytes = new Uint8Array(readFileSync(path.join(root, "volunteer/web/probe.bin")));

/** @returns {import("../../volunteer/web/shard_fetch.mjs").Hasher} */
const newHasher = () => {
  const hash = createHash("sha256");
  return { update: (b) => void hash.update(b), hex: () => hash.digest("hex") };
};

for (const subgroups of [true, false])
  test(`the engine proves itself ${subgroups ? "with" : "without"} subgroups`, async () => {
    const engine = await WebGpuEngine.start(gpu, { newHasher, read: readShader, subgroups });
    assert.ok((await prove(engine, parseProbe(bytes))) > 0);
    engine.close();
  });
