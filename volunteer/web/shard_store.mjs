// @ts-check
// shard_store.mjs - where shards are kept, by their SHA-256: in the Origin
// Private File System, else in Cache Storage, else in memory. A store holds two
// kinds of things: parts, which are being downloaded and prove nothing, and
// shards, which were verified whole before `keep` was called. Reading a shard
// gives a Blob, which the browser reads from disk piece by piece. Beside a shard
// lie the hashes of its pieces, noted when it was verified whole once more: with
// them the browser can verify it without holding it twice. Only one
// download per profile runs at a time (work_lock in worker.mjs sees to it).

/**
 * @typedef {object} Part        an unfinished download
 * @property {number} size       bytes so far
 * @property {(each: (bytes: Uint8Array) => void) => Promise<void>} replay
 *   give out what is there already, in order
 * @property {(bytes: Uint8Array) => void} append
 * @property {() => void} clear  back to no bytes
 * @property {() => Promise<Blob>} keep  it is verified: make it a shard. Ends the part
 * @property {() => void} close  stop, and leave the bytes for a later try
 *
 * @typedef {object} Pieces       of a shard
 * @property {number} bytes       of each but the last
 * @property {string[]} sha256    64 hex digits each
 *
 * @typedef {object} SyncAccess  a FileSystemSyncAccessHandle, which only workers have
 * @property {() => number} getSize
 * @property {(into: Uint8Array, options: {at: number}) => number} read
 * @property {(from: Uint8Array, options: {at: number}) => number} write
 * @property {(size: number) => void} truncate
 * @property {() => void} flush
 * @property {() => void} close
 *
 * @typedef {object} ShardStore
 * @property {"opfs"|"cache"|"memory"} kind
 * @property {(sha256: string, bytes: number) => Promise<Blob|null>} get
 * @property {(sha256: string) => Promise<Part>} part
 * @property {(sha256: string) => Promise<Pieces|null>} pieces
 * @property {(sha256: string, pieces: Pieces) => Promise<void>} notePieces
 * @property {(sha256: string) => Promise<void>} remove
 * @property {() => Promise<{sha256: string, bytes: number}[]>} list  parts too
 */

const FOLDER = 'synapse-shards';
const PIECE = 4 << 20;
const ACCESS_TRIES = 15;
const ACCESS_WAIT_MS = 200;

/**
 * The best store that this browser has.
 * @param {"opfs"|"cache"|"memory"} kind  from features.mjs
 * @returns {Promise<ShardStore>}
 */
export async function openStore(kind) {
  if (kind === 'opfs') {
    const root = await navigator.storage.getDirectory();
    return new FileStore(await root.getDirectoryHandle(FOLDER, { create: true }));
  }
  if (kind === 'cache') return new CacheStore(await caches.open(FOLDER));
  return new MemoryStore();
}

/** @implements {ShardStore} */
class FileStore {
  /** @param {FileSystemDirectoryHandle} folder */
  constructor(folder) {
    this.kind = /** @type {const} */ ('opfs');
    this.folder = folder;
  }

  /**
   * @param {string} sha256
   * @param {number} bytes
   */
  async get(sha256, bytes) {
    try {
      const file = await (await this.folder.getFileHandle(sha256)).getFile();
      if (file.size === bytes) return file;
      await this.remove(sha256);
    } catch (error) {
      if (!isNamed(error, 'NotFoundError')) throw error;
    }
    return null;
  }

  /** @param {string} sha256 */
  async part(sha256) {
    const handle = await this.folder.getFileHandle(`${sha256}.part`, { create: true });
    return new FilePart(this.folder, handle, await openAccess(handle), sha256);
  }

  /** @param {string} sha256 */
  async pieces(sha256) {
    try {
      return parsePieces(await (await (await this.folder.getFileHandle(`${sha256}.pieces`)).getFile()).text());
    } catch (error) {
      if (!isNamed(error, 'NotFoundError')) throw error;
      return null;
    }
  }

  /**
   * @param {string} sha256
   * @param {Pieces} pieces
   */
  async notePieces(sha256, pieces) {
    const access = await openAccess(await this.folder.getFileHandle(`${sha256}.pieces`, { create: true }));
    try {
      const bytes = new TextEncoder().encode(JSON.stringify(pieces));
      access.truncate(0);
      access.write(bytes, { at: 0 });
      access.flush();
    } finally {
      access.close();
    }
  }

  /** @param {string} sha256 */
  async remove(sha256) {
    for (const name of [`${sha256}.pieces`, sha256, `${sha256}.part`]) {
      try {
        await this.folder.removeEntry(name);
      } catch (error) {
        if (!isNamed(error, 'NotFoundError')) throw error;
      }
    }
  }

  async list() {
    const all = [];
    for await (const [name, handle] of /** @type {any} */ (this.folder).entries())
      all.push({ sha256: name.replace(/\.(part|pieces)$/, ''), bytes: (await handle.getFile()).size });
    return all;
  }
}

/**
 * What `notePieces` wrote; null for what it cannot have written whole.
 * @param {string} text
 * @returns {Pieces|null}
 */
function parsePieces(text) {
  try {
    const { bytes, sha256 } = JSON.parse(text);
    const right = Number.isInteger(bytes) && Array.isArray(sha256) && sha256.every((hash) => /^[0-9a-f]{64}$/.test(hash));
    return right ? { bytes, sha256 } : null;
  } catch {
    return null;
  }
}

/**
 * The only handle that may write. The one of a page that was just closed can
 * linger for a moment.
 * @param {FileSystemFileHandle} handle
 * @returns {Promise<SyncAccess>}
 */
async function openAccess(handle) {
  for (let tries = 1; ; tries++) {
    try {
      return await /** @type {any} */ (handle).createSyncAccessHandle();
    } catch (error) {
      if (tries >= ACCESS_TRIES || !isNamed(error, 'NoModificationAllowedError')) throw error;
      await new Promise((resolve) => setTimeout(resolve, ACCESS_WAIT_MS));
    }
  }
}

/** @implements {Part} */
class FilePart {
  /**
   * @param {FileSystemDirectoryHandle} folder
   * @param {FileSystemFileHandle} handle
   * @param {SyncAccess} access
   * @param {string} sha256
   */
  constructor(folder, handle, access, sha256) {
    this.folder = folder;
    this.handle = handle;
    this.access = access;
    this.sha256 = sha256;
    this.size = access.getSize();
    this.open = true;
  }

  /** @param {(bytes: Uint8Array) => void} each */
  async replay(each) {
    const piece = new Uint8Array(PIECE);
    for (let at = 0; at < this.size; ) {
      const n = this.access.read(piece, { at });
      if (n === 0) throw new Error('a cached file ends early');
      each(piece.subarray(0, n));
      at += n;
    }
  }

  /** @param {Uint8Array} bytes */
  append(bytes) {
    for (let at = 0; at < bytes.length; ) {
      const n = this.access.write(bytes.subarray(at), { at: this.size });
      if (n === 0) throw new DOMException('the storage is full', 'QuotaExceededError');
      at += n;
      this.size += n;
    }
  }

  clear() {
    this.access.truncate(0);
    this.size = 0;
  }

  async keep() {
    this.access.flush();
    this.close();
    // Renaming is one step: a shard is there whole or not at all.
    await /** @type {any} */ (this.handle).move(this.sha256);
    return (await this.folder.getFileHandle(this.sha256)).getFile();
  }

  close() {
    if (this.open) this.access.close();
    this.open = false;
  }
}

/** @param {string} sha256 */
function cacheKey(sha256) {
  return `/shard-cache/${sha256}`;
}

/** @implements {ShardStore} */
class CacheStore {
  /** @param {Cache} cache */
  constructor(cache) {
    this.kind = /** @type {const} */ ('cache');
    this.cache = cache;
  }

  /**
   * @param {string} sha256
   * @param {number} bytes
   */
  async get(sha256, bytes) {
    const found = await this.cache.match(cacheKey(sha256));
    const blob = found ? await found.blob() : null;
    return blob && blob.size === bytes ? blob : null;
  }

  /** @param {string} sha256 */
  async part(sha256) {
    return new MemoryPart(async (blob) => {
      await this.cache.put(cacheKey(sha256), new Response(blob));
    });
  }

  /** @param {string} sha256 */
  async pieces(sha256) {
    const found = await this.cache.match(cacheKey(`${sha256}.pieces`));
    return found ? parsePieces(await found.text()) : null;
  }

  /**
   * @param {string} sha256
   * @param {Pieces} pieces
   */
  async notePieces(sha256, pieces) {
    await this.cache.put(cacheKey(`${sha256}.pieces`), new Response(JSON.stringify(pieces)));
  }

  /** @param {string} sha256 */
  async remove(sha256) {
    await this.cache.delete(cacheKey(`${sha256}.pieces`));
    await this.cache.delete(cacheKey(sha256));
  }

  async list() {
    const all = [];
    for (const key of await this.cache.keys()) {
      const found = await this.cache.match(key);
      if (found) all.push({ sha256: (key.url.split('/').pop() ?? '').replace(/\.pieces$/, ''), bytes: (await found.blob()).size });
    }
    return all;
  }
}

/** @implements {ShardStore} */
export class MemoryStore {
  constructor() {
    this.kind = /** @type {const} */ ('memory');
    /** @type {Map<string, Blob>} */
    this.blobs = new Map();
  }

  /**
   * @param {string} sha256
   * @param {number} bytes
   */
  async get(sha256, bytes) {
    const blob = this.blobs.get(sha256);
    return blob && blob.size === bytes ? blob : null;
  }

  /** @param {string} sha256 */
  async part(sha256) {
    return new MemoryPart(async (blob) => {
      this.blobs.set(sha256, blob);
    });
  }

  /** @returns {Promise<Pieces|null>} */
  async pieces() {
    return null; // a blob in memory is not read often
  }

  async notePieces() {}

  /** @param {string} sha256 */
  async remove(sha256) {
    this.blobs.delete(sha256);
  }

  async list() {
    return [...this.blobs].map(([sha256, blob]) => ({ sha256, bytes: blob.size }));
  }
}

/** @implements {Part} */
class MemoryPart {
  /** @param {(blob: Blob) => Promise<void>} store */
  constructor(store) {
    this.store = store;
    this.size = 0;
    /** @type {Uint8Array<ArrayBuffer>[]} */
    this.pieces = [];
  }

  /** @param {(bytes: Uint8Array) => void} each */
  async replay(each) {
    this.pieces.forEach(each);
  }

  /** @param {Uint8Array} bytes */
  append(bytes) {
    this.pieces.push(bytes.slice());
    this.size += bytes.length;
  }

  clear() {
    this.pieces = [];
    this.size = 0;
  }

  async keep() {
    const blob = new Blob(this.pieces);
    this.pieces = [];
    await this.store(blob);
    return blob;
  }

  close() {}
}

/**
 * @param {unknown} error
 * @param {string} name
 */
function isNamed(error, name) {
  return error instanceof DOMException && error.name === name;
}
