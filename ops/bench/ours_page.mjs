// ours_page.mjs - our engine in the browser, as the benchmark measures it.
// Loaded by the benchmark's page; paths are those of its server.
// @ts-check

// @ts-ignore: a path of the page
const { WasmEngine } = await import('/web/engine_wasm.mjs');
// @ts-ignore: a path of the page
const { RemoteEngine } = await import('/web/engine_remote.mjs');
// @ts-ignore: a path of the page
const { openStore } = await import('/web/shard_store.mjs');
// @ts-ignore: a path of the page
const syn1 = await import('/web/syn1.mjs');
// @ts-ignore: a path of the page
const { crc32c } = await import('/web/crc32c.mjs');

const SEQ_LEN = 72; // bytes of a sequence in a unit, without its tokens
const RESULT_SEQ_LEN = 32;
const SHORT_PROMPT = 16; // rows before decoding begins
const MEMORY = 1e9; // bytes the engine may use

/**
 * @typedef {object} Manifest
 * @property {string} id                 64 hex digits
 * @property {{file: string, bytes: number, sha256: string}[]} shards
 * @property {number} vocab
 */

/**
 * A unit for the whole model: the same rows of `sequences` sequences.
 * @param {Manifest} model
 * @param {{id: number, sequences: number, first: number, rows: number, maxNew: number}} job
 */
function unit(model, job) {
  const each = SEQ_LEN + 4 * job.rows;
  const body = job.sequences * each;
  const frame = new Uint8Array(syn1.HEADER_LEN + body + syn1.CRC_LEN);
  const v = new DataView(frame.buffer);
  v.setUint32(0, 0x314e5953, true);
  frame[4] = 1;
  frame[5] = syn1.Kind.UNIT;
  v.setUint16(6, 1, true); // tokens
  frame.set(syn1.fromHex(model.id).subarray(0, syn1.ID_LEN), 8);
  v.setUint16(26, model.shards.length, true);
  v.setUint16(28, job.sequences, true);
  v.setUint32(72, body, true);
  for (let s = 0; s < job.sequences; s++) {
    const at = syn1.HEADER_LEN + s * each;
    v.setBigUint64(at, BigInt(job.id + s), true);
    v.setUint32(at + 12, job.first, true);
    v.setUint32(at + 16, job.rows, true);
    v.setUint32(at + 20, job.first, true); // all earlier rows are valid
    v.setUint32(at + 28, job.maxNew, true);
    v.setUint32(at + 32, job.first + job.rows, true);
    v.setUint32(at + 40, 65536, true); // top_p off
    frame[at + 64] = 2; // go on past end tokens
    for (let i = 0; i < job.rows; i++)
      v.setUint32(at + SEQ_LEN + 4 * i, ((job.first + i) * 7919) % model.vocab, true);
  }
  const end = frame.length - syn1.CRC_LEN;
  v.setUint32(end, crc32c(frame.subarray(0, end)), true);
  return frame;
}

/** Throws unless all sequences gave all their tokens.
 * @param {Uint8Array} result @param {number} tokens in all */
function checkResult(result, tokens) {
  const info = syn1.resultInfo(result);
  if (info.notOk || info.tokens !== tokens)
    throw new Error(`${info.notOk} sequences failed; ${info.tokens} of ${tokens} tokens came`);
}

/** The engine in this page. @param {string} wasm url @param {string} dir url of the model folder
 * @param {Manifest} model */
export async function openEngine(wasm, dir, model) {
  const engine = await WasmEngine.open(wasm);
  const shards = await Promise.all(model.shards.map(async ({ file, sha256 }) =>
    ({ name: file, sha256, blob: await (await fetch(dir + file)).blob() })));
  await engine.load(model.id, shards, MEMORY, () => {});
  let next = 1; // id of the next sequence

  /** Seconds of a unit. @param {{sequences: number, first: number, rows: number, maxNew: number}} job */
  const timed = (job) => {
    const frame = unit(model, { ...job, id: next });
    const start = performance.now();
    const result = engine.run(frame);
    const seconds = (performance.now() - start) / 1e3;
    checkResult(result, job.sequences * job.maxNew);
    return seconds;
  };
  const drop = (/** @type {number} */ n) => {
    for (let i = 0; i < n; i++) engine.wasm.host_drop(engine.host, next + i, 0);
    next += n;
  };
  return {
    kernels: engine.text(engine.wasm.host_kernels(engine.host)),
    /** Bytes of the module's memory. */
    memory: () => engine.wasm.memory.buffer.byteLength,
    /** Prompt tokens a second. @param {number} rows */
    prompt(rows) {
      const seconds = timed({ sequences: 1, first: 0, rows, maxNew: 1 });
      drop(1);
      return rows / seconds;
    },
    /** New tokens a second, of all sequences. @param {number} sequences @param {number} maxNew */
    decode(sequences, maxNew) {
      timed({ sequences, first: 0, rows: SHORT_PROMPT, maxNew: 1 });
      const seconds = timed({ sequences, first: SHORT_PROMPT, rows: 1, maxNew });
      drop(sequences);
      return (sequences * maxNew) / seconds;
    },
  };
}

/** Put a file where the contribute page keeps its own.
 * @param {string} name @param {Blob | string} content */
async function keep(name, content) {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('synapse-shards', { create: true });
  const writer = await (await folder.getFileHandle(name, { create: true })).createWritable();
  await writer.write(content);
  await writer.close();
}

/** @param {string} dir url @param {Manifest} model */
export async function cacheShards(dir, model) {
  for (const { file, sha256 } of model.shards) await keep(sha256, await (await fetch(dir + file)).blob());
}

/** An engine in a worker with the cached shards, as the contribute page has it.
 * @param {string} wasm url @param {Manifest} model @param {number} threads */
async function openCached(wasm, model, threads) {
  const engine = new RemoteEngine();
  const store = await openStore('opfs');
  const opened = engine.open(new URL(wasm, location.href).href, 'never', { threads, most: threads });
  const shards = await Promise.all(model.shards.map(async ({ file, bytes, sha256 }) => {
    const blob = await store.get(sha256, bytes);
    if (!blob) throw new Error(`${file} is not cached`);
    return { name: file, sha256, blob, pieces: await store.pieces(sha256) };
  }));
  await opened;
  const loaded = await engine.load(model.id, shards, MEMORY);
  if (loaded.threads !== threads) throw new Error(`${loaded.threads} of ${threads} threads compute`);
  for (const [sha256, pieces] of loaded.noted) await keep(`${sha256}.pieces`, JSON.stringify(pieces));
  return engine;
}

/** Seconds from nothing but cached shards to the first token.
 * @param {string} wasm url @param {Manifest} model */
export async function firstToken(wasm, model) {
  const start = performance.now();
  const engine = await openCached(wasm, model, navigator.hardwareConcurrency);
  const { result } = await engine.run(unit(model, { id: 1, sequences: 1, first: 0, rows: SHORT_PROMPT, maxNew: 1 }));
  const seconds = (performance.now() - start) / 1e3;
  checkResult(result, 1);
  engine.end('measured');
  return seconds;
}

/** An engine whose number of threads changes. @param {string} wasm url @param {Manifest} model */
export async function openThreads(wasm, model) {
  const engine = await openCached(wasm, model, 2);
  return {
    /** Prompt tokens a second. @param {number} rows @param {number} threads */
    async prompt(rows, threads) {
      await engine.useThreads(threads);
      const frame = unit(model, { id: 1, sequences: 1, first: 0, rows, maxNew: 1 });
      const start = performance.now();
      const { result } = await engine.run(frame);
      const seconds = (performance.now() - start) / 1e3;
      checkResult(result, 1);
      return rows / seconds;
    },
  };
}

/** What a browser can do at most, and the product alone. @param {string} wasm url of limits.wasm */
export async function openLimits(wasm) {
  const { instance } = await WebAssembly.instantiateStreaming(fetch(wasm), {});
  const limits = /** @type {any} */ (instance.exports);
  limits._initialize?.();
  const READ = 128e6;
  const base = limits.memory.grow(Math.ceil(READ / 65536)) * 65536;
  new Uint8Array(limits.memory.buffer, base, READ).fill(1);
  /** @type {Map<string, number>} */
  const products = new Map();

  /** Units of work a second, the best of several tries. @param {() => number} work gives its units */
  const rate = (work) => {
    let best = 0;
    for (const begun = performance.now(); performance.now() - begun < 400; ) {
      const start = performance.now();
      const units = work();
      best = Math.max(best, (units / (performance.now() - start)) * 1e3);
    }
    return best;
  };
  /** Isa of the product that is faster here: relaxed or relaxed by pairs. @type {number | undefined} */
  let isa;

  /** @param {number} product @param {number} macs @param {number} kernels */
  const productRate = (product, macs, kernels) => {
    const times = 8, start = performance.now();
    for (let i = 0; i < times; i++) limits.product_run(product, kernels);
    return (macs * times) / (performance.now() - start) / 1e6;
  };
  return {
    /** G MAC/s in registers alone, by the better instruction. */
    dot: () => Math.max(...[limits.dot, limits.pairs].map((f) => rate(() => {
      for (let i = 0; i < 100; i++) f(1000);
      return 100 * 1000 * 8 * 16;
    }))) / 1e9,
    /** GB/s. */
    read: () => rate(() => {
      for (let at = 0; at < READ; at += 1e6) limits.read(base + at, 1e6);
      return READ;
    }) / 1e9,
    /** G MAC/s of one shape. @param {number} rows @param {number} k @param {number} n */
    product(rows, k, n) {
      const key = `${rows} ${k} ${n}`;
      const product = products.get(key) ?? limits.product_new(rows, k, n);
      products.set(key, product);
      const macs = rows * k * n;
      if (isa === undefined) {
        productRate(product, macs, 6); // let them be compiled well first
        productRate(product, macs, 7);
        isa = productRate(product, macs, 6) > productRate(product, macs, 7) ? 6 : 7;
      }
      return productRate(product, macs, isa);
    },
  };
}
