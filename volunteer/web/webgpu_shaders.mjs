// @ts-check
// webgpu_shaders.mjs - the WGSL kernels as whole sources. WGSL has no include:
// a kernel's header names the files of shaders/lib/ that go in front of it, in
// that order ("// lib: fixed wide"). With subgroups, reduce_subgroups.wgsl takes
// the place of reduce.wgsl, and fold_subgroups.wgsl that of fold.wgsl.

/**
 * Gives the text of a file below shaders/.
 * @callback ReadShader
 * @param {string} name
 * @returns {Promise<string>}
 */

export const KERNELS = Object.freeze([
  "embed", "unwire", "norm", "norm_qkv", "norm_up", "quantise", "activation", "matmul_row", "matmul_rows",
  "heads", "attention", "sample", "wire", "fingerprint", "project",
]);
const TWINS = ["reduce", "fold"]; // lib files that have a twin with subgroups

/** @type {ReadShader} */
export async function fetchShader(name) {
  const response = await fetch(new URL(`./shaders/${name}`, import.meta.url), { signal: AbortSignal.timeout(30000) });
  if (!response.ok) throw new Error(`the kernel ${name} could not be fetched (${response.status})`);
  return response.text();
}

/**
 * @param {string} kernel
 * @param {string} text  of its file
 * @returns {string[]} names of the lib files it needs, in order
 */
export function libsOf(kernel, text) {
  const found = text.match(/^\/\/ lib: ([a-z_ ]+)$/m);
  if (!found) throw new Error(`the kernel ${kernel} does not name its lib files`);
  return found[1].split(" ");
}

/**
 * @param {ReadShader} read
 * @param {boolean} subgroups
 * @param {readonly string[]} [kernels]
 * @returns {Promise<Map<string, string>>} kernel -> source
 */
export async function assemble(read, subgroups, kernels = KERNELS) {
  /** @type {Map<string, Promise<string>>} */
  const texts = new Map();
  const get = (/** @type {string} */ name) => {
    const text = texts.get(name) ?? read(name);
    texts.set(name, text);
    return text;
  };
  const sources = await Promise.all(kernels.map(async (kernel) => {
    const own = await get(`${kernel}.wgsl`);
    const libs = libsOf(kernel, own);
    const swapped = subgroups && libs.some((lib) => TWINS.includes(lib));
    const parts = await Promise.all(libs.map((lib) => get(`lib/${swapped && TWINS.includes(lib) ? `${lib}_subgroups` : lib}.wgsl`)));
    return /** @type {[string, string]} */ ([kernel, [swapped ? "enable subgroups;\n" : "", ...parts, own].join("\n")]);
  }));
  return new Map(sources);
}
