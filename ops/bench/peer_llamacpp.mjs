// peer_llamacpp.mjs - llama.cpp's native build (npm node-llama-cpp): prints one
// JSON object a line, {"prompt": tok/s, "decode": tok/s}, each time a line
// arrives on standard input, so that rounds can be interleaved with ours.
//
//   node peer_llamacpp.mjs GGUF PROMPT_TOKENS NEW_TOKENS [THREADS]
// @ts-check

import { createInterface } from 'node:readline';

// Installed beside this file, not in the root: its types are not looked for.
const { getLlama } = await import(/** @type {any} */ ('node-llama-cpp'));

const [gguf, nPrompt, nNew, threads = '1'] = process.argv.slice(2);
const llama = await getLlama({ build: 'never', gpu: false, maxThreads: Number(threads), logLevel: 'error' });
const model = await llama.loadModel({ modelPath: gguf, gpuLayers: 0 });

/** Tokens a second of a prompt and of decoding after a short one. */
async function measure() {
  const context = await model.createContext({ contextSize: 1024, batchSize: 512, threads: Number(threads) });
  const sequence = context.getSequence();
  const tokens = Array.from({ length: Number(nPrompt) }, (_, i) => 97 + ((i * 7919) % 20));

  let start = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(tokens);
  const prompt = (tokens.length / (performance.now() - start)) * 1e3;

  await sequence.clearHistory();
  await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(0, 16));
  let made = 0;
  start = performance.now();
  for await (const _ of sequence.evaluate(tokens.slice(16, 17), { temperature: 0 })) {
    if (++made >= Number(nNew)) break;
  }
  const decode = (made / (performance.now() - start)) * 1e3;
  await context.dispose();
  return { prompt, decode };
}

await measure(); // warm up
console.log('ready');
for await (const _ of createInterface({ input: process.stdin })) console.log(JSON.stringify(await measure()));
process.exit(0);
