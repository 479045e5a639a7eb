// @ts-check
// kernel_cases.mjs - runs what kernel_cases.c wrote on a GPU: each kernel by
// itself, its buffers compared with its C twin's. In Node and in pages.

const STORAGE = 128 | 8 | 4; // with COPY_DST and COPY_SRC
const READ = 1 | 8; // MAP_READ with COPY_DST

/**
 * @typedef {object} CaseBuffer
 * @property {number} binding
 * @property {number} at
 * @property {number} bytes
 * @property {number} expect
 * @property {number} expect_bytes
 *
 * @typedef {object} Case
 * @property {string} kernel
 * @property {CaseBuffer[]} buffers
 * @property {Record<string, number>} constants
 * @property {[number, number]} dispatch
 */

/**
 * @param {GPUDevice} device
 * @param {string} code
 * @param {Case} c
 * @param {Uint8Array<ArrayBuffer>} blob
 * @returns {Promise<string>} what differs; '' for nothing
 */
async function runCase(device, code, c, blob) {
  const module = device.createShaderModule({ code });
  const compute = { module, entryPoint: 'main', constants: c.constants };
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute });
  const buffers = c.buffers.map(({ at, bytes }) => {
    const buffer = device.createBuffer({ size: Math.max(16, Math.ceil(bytes / 16) * 16), usage: STORAGE });
    device.queue.writeBuffer(buffer, 0, blob, at, bytes);
    return buffer;
  });
  const entries = c.buffers.map(({ binding }, i) => ({ binding, resource: { buffer: buffers[i] } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(...c.dispatch);
  pass.end();
  const wanted = c.buffers.flatMap((b, i) => (b.expect < 0 ? [] : [{ b, from: buffers[i] }]));
  const reads = wanted.map(({ b, from }) => {
    const to = device.createBuffer({ size: b.expect_bytes, usage: READ });
    encoder.copyBufferToBuffer(from, 0, to, 0, b.expect_bytes);
    return { b, to };
  });
  device.queue.submit([encoder.finish()]);
  let wrong = '';
  for (const { b, to } of reads) {
    await to.mapAsync(1);
    const got = new Int32Array(to.getMappedRange());
    const want = new Int32Array(blob.buffer, blob.byteOffset + b.expect, b.expect_bytes / 4);
    const at = got.findIndex((v, i) => v !== want[i]);
    if (at >= 0 && !wrong) wrong = `binding ${b.binding}, word ${at}: ${got[at]}, not ${want[at]}`;
    to.destroy();
  }
  for (const buffer of buffers) buffer.destroy();
  return wrong;
}

/**
 * @param {GPUDevice} device
 * @param {Map<string, string>} sources  kernel -> code
 * @param {Case[]} cases
 * @param {Uint8Array<ArrayBuffer>} blob
 * @returns {Promise<{ran: Record<string, number>, wrong: string[]}>} cases by kernel, and what differs
 */
export async function runCases(device, sources, cases, blob) {
  /** @type {Record<string, number>} */
  const ran = {};
  const told = await Promise.all(cases.map(async (c) => {
    const code = sources.get(c.kernel);
    if (!code) return `there is no kernel ${c.kernel}`;
    const wrong = await runCase(device, code, c, blob);
    ran[c.kernel] = (ran[c.kernel] ?? 0) + 1;
    return wrong && `${c.kernel} ${JSON.stringify(c.constants)}: ${wrong}`;
  }));
  return { ran, wrong: told.filter(Boolean) };
}
