// @ts-check
// settings.mjs - what the person chose, and the key of the account. Both live
// in this browser only. Where storage is refused they last as long as the page.

/**
 * @typedef {object} Settings
 * @property {string} name         shown on the leaderboard, at most 40 characters
 * @property {25|50|100} intensity percent of the processor (effort.mjs)
 * @property {boolean} onlyVisible
 * @property {boolean} onlyMains
 * @property {boolean} autostart   start when the page is opened
 * @property {number} maxMb        of storage and memory
 * @property {import("./messages.mjs").GpuUse} gpu
 */

export const NAME_MAX = 40;
export const MB_MIN = 16;
export const MB_MAX = 8192;

const SETTINGS = 'synapse.settings';
const ACCOUNT = 'synapse.account';
const ACCOUNT_ID = 'synapse.account_id';

/** @type {Readonly<Settings>} */
const DEFAULTS = Object.freeze({
  name: '', intensity: 50, onlyVisible: false, onlyMains: false, autostart: false, maxMb: 512, gpu: 'faster',
});

/**
 * Anything, made into settings: what is not right takes its default.
 * @param {any} from
 * @returns {Settings}
 */
export function cleanSettings(from) {
  const s = from && typeof from === 'object' ? from : {};
  const intensity = [25, 50, 100].includes(s.intensity) ? s.intensity : DEFAULTS.intensity;
  const maxMb = Number.isFinite(s.maxMb) ? Math.min(MB_MAX, Math.max(MB_MIN, Math.round(s.maxMb))) : DEFAULTS.maxMb;
  return {
    name: typeof s.name === 'string' ? [...s.name].slice(0, NAME_MAX).join('') : DEFAULTS.name,
    intensity,
    onlyVisible: s.onlyVisible === true,
    onlyMains: s.onlyMains === true,
    autostart: s.autostart === true,
    maxMb,
    gpu: s.gpu === 'always' || s.gpu === 'never' ? s.gpu : DEFAULTS.gpu,
  };
}

/**
 * The settings with what a page's address asks for: autostart=1, name=...,
 * intensity=25|50|100, gpu=faster|always|never.
 * @param {Settings} settings
 * @param {URLSearchParams} query
 * @returns {Settings}
 */
export function withQuery(settings, query) {
  const more = /** @type {any} */ ({});
  if (query.has('autostart')) more.autostart = query.get('autostart') === '1';
  if (query.has('name')) more.name = query.get('name');
  if (query.has('intensity')) more.intensity = Number(query.get('intensity'));
  if (query.has('gpu')) more.gpu = query.get('gpu');
  return cleanSettings({ ...settings, ...more });
}

/** @param {string} key */
function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
function write(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Refused or full: it lasts as long as the page.
  }
}

/** @returns {Settings} */
export function loadSettings() {
  try {
    return cleanSettings(JSON.parse(read(SETTINGS) ?? '{}'));
  } catch {
    return cleanSettings({});
  }
}

/** @param {Settings} settings */
export function saveSettings(settings) {
  write(SETTINGS, JSON.stringify(cleanSettings(settings)));
}

/**
 * The secret key of this browser's account, made the first time.
 * @returns {string} 64 hex digits
 */
export function loadAccount() {
  const kept = read(ACCOUNT);
  if (kept && /^[0-9a-f]{64}$/.test(kept)) return kept;
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  const key = [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('');
  write(ACCOUNT, key);
  return key;
}

/**
 * The public name of the account, which the leaderboard shows the start of.
 * @param {string} id
 */
export function saveAccountId(id) {
  write(ACCOUNT_ID, id);
}
