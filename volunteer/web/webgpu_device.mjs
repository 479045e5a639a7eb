// @ts-check
// webgpu_device.mjs - a GPU device with what the kernels can use of it, and an
// eye on what goes wrong with it.

/**
 * @typedef {object} GpuInfo    for people
 * @property {string} adapter
 * @property {boolean} subgroups
 * @property {boolean} software  the adapter is a program, not a GPU
 */

const LIMITS = /** @type {const} */ ([
  "maxStorageBufferBindingSize", "maxBufferSize", "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupStorageSize",
]);

/** The specification's GPUBufferUsage, of what is used here. */
export const Usage = Object.freeze({ MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, STORAGE: 128 });
export const MAP_READ = 1; // GPUMapMode.READ

export class GpuGone extends Error {}

export class GpuHold {
  /**
   * @param {GPUDevice} device
   * @param {GpuInfo} info
   */
  constructor(device, info) {
    this.device = device;
    this.info = info;
    /** Compiled kernels, for every model on this device. @type {Map<string, Promise<GPUComputePipeline>>} */
    this.pipelines = new Map();
    /** @type {Map<string, GPUShaderModule>} */
    this.modules = new Map();
    /** @type {string|null} what is wrong with it; then it is not used again */
    this.broken = null;
    device.addEventListener("uncapturederror", (event) => {
      this.broken ??= /** @type {GPUUncapturedErrorEvent} */ (event).error.message;
    });
    /** Rejects when the device is lost. @type {Promise<never>} */
    this.lost = device.lost.then((why) => {
      this.broken ??= why.message || "the GPU was lost";
      throw new GpuGone(this.broken);
    });
    this.lost.catch(() => {});
  }

  /**
   * @param {GPU|undefined} gpu          navigator.gpu
   * @param {{subgroups?: boolean}} [want]  false: do without them
   */
  static async open(gpu, want = {}) {
    const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!gpu || !adapter) throw new GpuGone("no GPU is offered to this page");
    if (gpu.wgslLanguageFeatures && !gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product"))
      throw new GpuGone("the browser lacks packed integer dot products");
    const subgroups = want.subgroups !== false && adapter.features.has("subgroups");
    const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
    const device = await adapter.requestDevice({ requiredFeatures: subgroups ? ["subgroups"] : [], requiredLimits });
    const { vendor, architecture, device: model, description } = adapter.info;
    const name = [description || model, vendor, architecture].filter(Boolean).join(", ");
    const software = /swiftshader|llvmpipe|software/i.test(name);
    return new GpuHold(device, { adapter: name || "unnamed GPU", subgroups, software });
  }

  check() {
    if (this.broken) throw new GpuGone(this.broken);
  }

  /**
   * The result of work, or GpuGone as soon as the device is lost or broken.
   * @template T
   * @param {Promise<T>} work
   * @returns {Promise<T>}
   */
  async guard(work) {
    try {
      const value = await Promise.race([work, this.lost]);
      this.check();
      return value;
    } catch (error) {
      this.check();
      throw error;
    }
  }

  /**
   * As guard, and no error of the GPU's inside it goes unseen.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async scoped(work) {
    const kinds = /** @type {GPUErrorFilter[]} */ (["validation", "out-of-memory", "internal"]);
    for (const kind of kinds) this.device.pushErrorScope(kind);
    let value;
    try {
      value = await this.guard(work());
    } finally {
      const errors = await Promise.race([Promise.all(kinds.map(() => this.device.popErrorScope())), this.lost.catch(() => [])]);
      const error = errors.find((e) => e);
      if (error) this.broken ??= error.message;
    }
    this.check();
    return value;
  }

  /** Give the device back. */
  close() {
    this.device.destroy();
  }
}
