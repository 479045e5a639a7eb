// @ts-check
// messages.mjs - the one table of messages between the contribute page, the
// volunteer's worker and the engine's worker. Every message is an object with a
// `kind`; a kind that the table of its direction lacks throws at both ends.
//
//   page -> worker     look, start, stop, tune
//   worker -> page     found, state, joined, counts, trouble, engine, held
//   worker -> engine   open, load, run, threads  (each with a number `call`)
//   engine -> worker   done, failed       (with the same `call`), loading, note

/**
 * @typedef {import("./features.mjs").Features} Features
 *
 * @typedef {object} ModelOffer  a model of this grid, as the page shows it
 * @property {string} id         64 hex digits
 * @property {string} name
 * @property {number} bytes
 * @property {number} missing    bytes that are not in the cache yet
 * @property {number} least      bytes of its smallest shard
 *
 * @typedef {"faster"|"always"|"never"} GpuUse  where it is the faster one, wherever it
 *   gets the known unit right, or not at all
 *
 * @typedef {object} Tuning
 * @property {number} intensity  percent of the processor, or of a GPU's time
 * @property {number} maxBytes   of storage and of memory
 *
 * @typedef {object} Counts      since this page was opened
 * @property {number} tokens     told by this device in units that were accepted
 * @property {number} checked    of these, tokens that checked another's work
 * @property {number} units
 * @property {number} late       units that came too late to count
 * @property {number} bytesDown
 * @property {number} bytesUp
 * @property {number} speed      tokens a second while computing, 0: not known
 *
 * @typedef {object} State       what the volunteer is doing, for people
 * @property {"stopped"|"probing"|"joining"|"paying"|"downloading"|"loading"|"computing"|
 *   "checking"|"resting"|"waiting"|"retrying"|"standby"|"failed"} name
 * @property {string} [detail]   one sentence, plain words
 * @property {number} [done]     bytes, with downloading; tries made, with paying
 * @property {number} [total]    bytes, with downloading; tries on average, with paying
 * @property {number} [sequences] with computing and checking
 * @property {string} [model]    its name, with downloading and loading
 *
 * @typedef {{kind: "look"}} Look
 * @typedef {{kind: "start", account: string, name: string, gpu: GpuUse, tuning: Tuning}} Start
 * @typedef {{kind: "stop"}} Stop
 * @typedef {{kind: "tune", tuning: Tuning}} Tune
 * @typedef {Look|Start|Stop|Tune} ToWorker
 *
 * @typedef {{kind: "found", features: Features, models: ModelOffer[], problem: string|null}} Found
 * @typedef {{kind: "state", state: State}} StateMessage
 * @typedef {{kind: "joined", id: string, token: string, accountId: string, name: string, backend: string}} Joined
 * @typedef {{kind: "counts", counts: Counts}} CountsMessage
 * @typedef {{kind: "trouble", text: string}} Trouble
 * @typedef {{kind: "engine", text: string}} EngineNote  what computes, and why
 * @typedef {{model: string, first: number, end: number, layers: number}} HeldLayers  of a model's
 *   layers, counted from 0
 * @typedef {{kind: "held", spans: HeldLayers[], bytes: number, threads: number}} Held  what is in
 *   engines, the memory that these have taken, and the threads that compute (0: a GPU does)
 * @typedef {Found|StateMessage|Joined|CountsMessage|Trouble|EngineNote|Held} ToPage
 *
 * @typedef {{name: string, blob: Blob, sha256: string,
 *   pieces?: import("./shard_store.mjs").Pieces|null}} ShardBlob
 * @typedef {{kind: "open", call: number, wasm: string, gpu: GpuUse, threads: number, most: number}} Open
 * @typedef {{kind: "load", call: number, model: string, shards: ShardBlob[], maxBytes: number}} Load
 * @typedef {{kind: "run", call: number, frame: Uint8Array}} Run
 * @typedef {{kind: "threads", call: number, threads: number}} UseThreads
 * @typedef {Open|Load|Run|UseThreads} ToEngine
 *
 * @typedef {{kind: "done", call: number, value: any}} Done
 * @typedef {{kind: "failed", call: number, text: string, name: string, shard: string|null}} Failed
 * @typedef {{kind: "loading", done: number, total: number}} Loading
 * @typedef {{kind: "note", text: string}} Note  for people
 * @typedef {Done|Failed|Loading|Note} FromEngine
 */

/**
 * Call the handler of a message's kind.
 * @param {Record<string, (message: any) => void>} table
 * @param {any} message
 */
export function dispatch(table, message) {
  const kind = message && typeof message === 'object' ? message.kind : undefined;
  if (typeof kind !== 'string' || !Object.hasOwn(table, kind))
    throw new TypeError(`unknown message kind: ${String(kind)}`);
  table[kind](message);
}
