// @ts-check
// webgpu_kv.mjs - which sequence has which pages of the cache: the book-keeping
// of volunteer/engine/kv.c, rule for rule. The pages themselves are on the GPU.

import { Status } from "./syn1.mjs";

export const PAGE = 64; // positions

/**
 * @typedef {object} Slot
 * @property {number} index     of the slot, on the GPU too
 * @property {bigint|null} id   the sequence; null: free
 * @property {number} epoch
 * @property {number} rows      positions stored
 * @property {number} round     last used
 * @property {number[]} pages
 */

export class KvBook {
  /**
   * @param {number} nSlots
   * @param {number} nPages    in the pool
   * @param {number} nCtx
   */
  constructor(nSlots, nPages, nCtx) {
    this.slotPages = Math.ceil(nCtx / PAGE);
    /** @type {Slot[]} */
    this.slots = Array.from({ length: nSlots }, (_, index) => ({ index, id: null, epoch: 0, rows: 0, round: 0, pages: [] }));
    /** @type {number[]} */
    this.free = Array.from({ length: nPages }, (_, i) => nPages - 1 - i);
  }

  /** Sequences that could still be opened without evicting one. */
  freeSlots() {
    return this.slots.filter((s) => s.id === null).length;
  }

  /**
   * @param {Slot} slot
   * @param {number} keep  pages
   */
  trim(slot, keep) {
    while (slot.pages.length > keep) this.free.push(/** @type {number} */ (slot.pages.pop()));
  }

  /** @param {Slot} slot */
  clear(slot) {
    this.trim(slot, 0);
    slot.id = null;
    slot.rows = 0;
  }

  /** @param {bigint} id */
  drop(id) {
    const slot = this.slots.find((s) => s.id === id);
    if (slot) this.clear(slot);
  }

  /** @param {number} round */
  oldest(round) {
    /** @type {Slot|null} */
    let oldest = null;
    for (const s of this.slots)
      if (s.id !== null && s.round < round && (!oldest || s.round < oldest.round)) oldest = s;
    return oldest;
  }

  /**
   * kv_open, then kv_reserve.
   * @param {{id: bigint, epoch: number, first: number, kvValid: number}} seq
   * @param {number} rows   to make room for
   * @param {number} round
   * @returns {{status: number, slot: Slot|null}}
   */
  open(seq, rows, round) {
    let slot = this.slots.find((s) => s.id === seq.id) ?? null;
    if (slot) {
      const there = slot.epoch < seq.epoch ? Math.min(slot.rows, seq.kvValid) : slot.rows;
      if (slot.epoch > seq.epoch || there < seq.first) return { status: Status.KV_MISSING, slot: null };
    } else {
      if (seq.first > 0) return { status: Status.KV_MISSING, slot: null };
      slot = this.slots.find((s) => s.id === null) ?? this.oldest(round);
      if (!slot) return { status: Status.NO_ROOM, slot: null };
      this.clear(slot);
      slot.id = seq.id;
    }
    slot.epoch = seq.epoch;
    slot.rows = seq.first;
    slot.round = round;
    this.trim(slot, Math.ceil(seq.first / PAGE));
    return this.reserve(slot, rows, round) ? { status: Status.OK, slot } : { status: Status.NO_ROOM, slot: null };
  }

  /**
   * @param {Slot} slot
   * @param {number} rows
   * @param {number} round
   */
  reserve(slot, rows, round) {
    const had = slot.pages.length;
    const want = Math.ceil(rows / PAGE);
    while (want <= this.slotPages && slot.pages.length < want) {
      const oldest = this.free.length ? null : this.oldest(round);
      if (oldest) this.clear(oldest);
      const page = this.free.pop();
      if (page !== undefined) slot.pages.push(page);
      else if (!oldest) {
        this.trim(slot, had);
        return false;
      }
    }
    return want <= this.slotPages;
  }
}
