// peer_page.mjs - the peers that run in the browser. Loaded by the benchmark's
// page; paths are those of its server.
// @ts-check

/** llama.cpp's WASM build. @param {string} gguf url */
export async function wllama(gguf) {
  // @ts-ignore: a path of the page
  const { Wllama } = await import('/peers/@wllama/wllama/esm/index.js');
  const engine = new Wllama({ default: new URL('/peers/@wllama/wllama/esm/wasm/wllama.wasm', location.href).href });
  const blob = await (await fetch(gguf)).blob();
  await engine.loadModel([blob], { n_ctx: 1024, n_batch: 512, n_threads: 1, n_gpu_layers: 0 });

  let state = 7;
  /** Two letters that never merge are two tokens. @param {number} pairs */
  const prompt = (pairs) => {
    let text = '';
    for (let i = 0; i < pairs; i++) {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      text += `${String.fromCharCode(97 + ((state >> 16) % 26))}1`;
    }
    return text;
  };
  /** @param {number} pairs @param {number} nNew */
  const complete = (pairs, nNew) =>
    engine.createCompletion({ prompt: prompt(pairs), max_tokens: nNew, temperature: 0, ignore_eos: true, cache_prompt: false });

  return {
    /** Prompt tokens a second. @param {number} n */
    async prompt(n) {
      const { timings } = await complete(n / 2, 4);
      return timings.prompt_per_second;
    },
    /** New tokens a second. @param {number} n */
    async decode(n) {
      const { timings } = await complete(8, n);
      return timings.predicted_per_second;
    },
  };
}

/**
 * onnxruntime-web's integer product on one shape, in G MAC/s.
 * @param {Uint8Array} model @param {number} rows @param {number} k @param {number} n
 */
export async function onnxruntime(model, rows, k, n) {
  // @ts-ignore: a path of the page
  const ort = await import('/peers/onnxruntime-web/dist/ort.wasm.min.mjs');
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = '/peers/onnxruntime-web/dist/';
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
  const a = new ort.Tensor('uint8', new Uint8Array(rows * k).map((_, i) => i % 251), [rows, k]);
  await session.run({ a });
  return async () => {
    const start = performance.now();
    const times = 8;
    for (let i = 0; i < times; i++) await session.run({ a });
    return (rows * k * n * times) / (performance.now() - start) / 1e6;
  };
}
