// webgpu_node.mjs - WebGPU in Node, by Dawn (npm webgpu). Unless VK_DRIVER_FILES
// names a driver, the software one that comes with Chromium is used. The loader
// reads its settings when the process starts, so a process without them starts
// itself again with them. Without an adapter it throws: tests must not pass
// where nothing was tested.
// @ts-check

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const CHROMIUM = "/usr/lib/chromium";
export const root = path.resolve(import.meta.dirname, "../..");

function ensureDriver() {
  if (process.env.VK_DRIVER_FILES || !existsSync(`${CHROMIUM}/vk_swiftshader_icd.json`)) return;
  const env = {
    ...process.env,
    VK_DRIVER_FILES: `${CHROMIUM}/vk_swiftshader_icd.json`,
    LD_LIBRARY_PATH: [process.env.LD_LIBRARY_PATH, CHROMIUM].filter(Boolean).join(":"),
  };
  const { status } = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1)], { env, stdio: "inherit" });
  process.exit(status ?? 1);
}

/** Dawn's instances, which must outlive their devices whatever the callers keep. */
const opened = new Set();

/**
 * @param {string[]} [options]  of Dawn
 * @returns {GPU}
 */
export function openGpu(options = []) {
  ensureDriver();
  const binding = process.env.SYNAPSE_DAWN ?? "webgpu";
  const { create, globals } = createRequire(import.meta.url)(binding);
  Object.assign(globalThis, globals);
  const gpu = create(options);
  opened.add(gpu);
  return gpu;
}

/** @type {import("../../volunteer/web/webgpu_shaders.mjs").ReadShader} */
export async function readShader(name) {
  return readFileSync(path.join(root, "shaders", name), "utf8");
}
