// @ts-check
// contribute.mjs - the contribute page: shows what the volunteer's worker does,
// and lets the person decide. Computes and fetches nothing of the work itself.

import { count, element, getJson, megabytes, rate, repeat } from './figures.mjs';
import { dispatch } from './messages.mjs';
import { cleanSettings, loadAccount, loadSettings, saveAccountId, saveSettings, withQuery } from './settings.mjs';
import { featureWords, heldWords, offerWords, pendingWords, stateWords } from './words.mjs';

/**
 * @typedef {import("./messages.mjs").Counts} Counts
 * @typedef {import("./messages.mjs").Found} Found
 * @typedef {import("./messages.mjs").Joined} Joined
 * @typedef {import("./messages.mjs").State} State
 * @typedef {import("./messages.mjs").ToWorker} ToWorker
 */

const VISIBLE_MS = 400; // a glance at another tab is not a reason to stop

const worker = new Worker(new URL('./worker.mjs', import.meta.url), { type: 'module', name: 'volunteer' });
const account = loadAccount();
let settings = withQuery(loadSettings(), new URLSearchParams(location.search));
let wanted = false; // the person pressed start
let working = false; // the worker was told to start
/** @type {Found|null} */
let found = null;
/** @type {Joined|null} */
let joined = null;
/** @type {{charging: boolean, addEventListener: (type: string, on: () => void) => void}|null} */
let battery = null;

/** @param {ToWorker} message */
function ask(message) {
  worker.postMessage(message);
}

/**
 * @param {string} id
 * @param {string} text
 */
function set(id, text) {
  const node = element(id, HTMLElement);
  if (node.textContent !== text) node.textContent = text;
}

function tuning() {
  return { intensity: settings.intensity, maxBytes: settings.maxMb * 1e6 };
}

/** Why the worker must not run now though the person wants it, or "". */
function obstacle() {
  if (settings.onlyVisible && document.visibilityState !== 'visible') return 'Paused while this page is not visible.';
  if (settings.onlyMains && battery && !battery.charging) return 'Paused until this device is on mains power.';
  return '';
}

/** Bring the worker in line with what the person wants and allows. */
function settle() {
  const why = wanted ? obstacle() : '';
  const should = wanted && !why;
  if (should && !working) ask({ kind: 'start', account, name: settings.name, gpu: settings.gpu, tuning: tuning() });
  if (!should && working) ask({ kind: 'stop' });
  working = should;
  if (!should) {
    joined = null;
    showState({ name: 'stopped', detail: why });
  }
  showToggle();
}

function showToggle() {
  const toggle = element('toggle', HTMLButtonElement);
  const offer = offerWords(found?.models ?? [], settings.maxMb * 1e6);
  toggle.disabled = !wanted && (!found || !found.features.simd || !offer.fits);
  toggle.textContent = wanted ? 'Stop' : offer.button;
  toggle.classList.toggle('plain', wanted);
  const note = found?.problem ? `The server's models cannot be listed: ${found.problem}` : offer.note;
  set('offer', wanted || !found ? '' : note);
}

/** @param {State} state */
function showState(state) {
  const words = stateWords(state);
  element('status', HTMLElement).className = `status ${words.lamp}`;
  set('state', words.title);
  set('detail', words.detail);
  const bar = element('progress', HTMLProgressElement);
  bar.hidden = state.name !== 'downloading';
  if (!bar.hidden) bar.value = (100 * (state.done ?? 0)) / Math.max(1, state.total ?? 1);
  document.documentElement.dataset.state = state.name;
}

/** @param {Counts} counts */
function showCounts(counts) {
  set('tokens', count(counts.tokens));
  set('checked', counts.checked ? `${count(counts.checked)} of them checks` : '');
  set('units', count(counts.units));
  set('late', counts.late ? `${count(counts.late)} came too late` : '');
  set('speed', counts.speed ? rate(counts.speed) : '–');
  set('down', megabytes(counts.bytesDown));
  set('up', megabytes(counts.bytesUp));
}

/** @param {string} text */
function showTrouble(text) {
  const node = element('trouble', HTMLElement);
  node.hidden = text === '';
  node.textContent = text;
}

/** @param {string[]} lines */
function showFeatures(lines) {
  element('features', HTMLElement).replaceChildren(
    ...lines.map((line) => {
      const item = document.createElement('li');
      item.textContent = line;
      return item;
    }),
  );
}

/** The credit of this account, and what is pending. */
async function refreshCredit() {
  const id = joined?.accountId;
  if (!id) return;
  const own = await getJson(`/v1/accounts/${encodeURIComponent(id)}`);
  set('credit', count(own.credit));
  set('rank', own.rank > 0 ? `rank ${count(own.rank)}` : 'comes with confirmed lines');
  set('pending', pendingWords(own.pending ?? []));
}

const table = {
  found: (/** @type {Found} */ m) => {
    found = m;
    showFeatures(featureWords(m.features));
    if (!wanted) showState({ name: 'stopped' });
    showToggle();
    if (settings.autostart && !wanted) {
      wanted = true;
      settle();
    }
  },
  state: (/** @type {{state: State}} */ m) => {
    if (!working && m.state.name !== 'failed') return;
    showState(m.state);
    if (m.state.name !== 'failed') return;
    wanted = working = false;
    showToggle();
  },
  joined: (/** @type {Joined} */ m) => {
    joined = m;
    saveAccountId(m.accountId);
  },
  counts: (/** @type {{counts: Counts}} */ m) => showCounts(m.counts),
  trouble: (/** @type {{text: string}} */ m) => showTrouble(m.text),
  held: (/** @type {import("./messages.mjs").Held} */ m) => {
    const node = element('held', HTMLElement);
    node.textContent = heldWords(m.spans, m.bytes, m.threads);
    node.hidden = m.spans.length === 0;
  },
  engine: (/** @type {{text: string}} */ m) => {
    const node = element('engine', HTMLElement);
    node.textContent = m.text;
    node.hidden = false;
  },
};

function fillForm() {
  const form = element('settings', HTMLFormElement);
  for (const field of form.querySelectorAll('input')) {
    if (field.type === 'radio') field.checked = Number(field.value) === settings.intensity;
    else if (field.type === 'checkbox') field.checked = /** @type {any} */ (settings)[field.name] === true;
    else field.value = String(/** @type {any} */ (settings)[field.name]);
  }
}

function onForm() {
  const form = element('settings', HTMLFormElement);
  const data = new FormData(form);
  settings = cleanSettings({
    name: data.get('name'),
    intensity: Number(data.get('intensity')),
    onlyVisible: data.has('onlyVisible'),
    onlyMains: data.has('onlyMains'),
    autostart: data.has('autostart'),
    gpu: settings.gpu,
    maxMb: Number(data.get('maxMb')),
  });
  saveSettings(settings);
  fillForm();
  ask({ kind: 'tune', tuning: tuning() });
  settle();
}

/** The worker dies with the page: this request outlives both. */
function leave() {
  if (!joined) return;
  const headers = { authorization: `Bearer ${joined.token}` };
  const url = `/v1/volunteers/${encodeURIComponent(joined.id)}/leave`;
  fetch(url, { method: 'POST', headers, keepalive: true, signal: AbortSignal.timeout(5000) }).catch(() => {});
}

async function watchBattery() {
  const get = /** @type {any} */ (navigator).getBattery;
  if (typeof get !== 'function') {
    const mains = element('mains', HTMLElement);
    mains.classList.add('off');
    mains.querySelectorAll('input').forEach((box) => { box.disabled = true; });
    mains.querySelectorAll('span').forEach((text) => { text.textContent = 'Only on mains power (this browser does not say)'; });
    return;
  }
  battery = await get.call(navigator);
  battery?.addEventListener('chargingchange', settle);
  settle();
}

worker.onmessage = (/** @type {MessageEvent} */ event) => dispatch(table, event.data);
worker.onerror = (/** @type {ErrorEvent} */ event) => {
  showState({ name: 'failed', detail: `The page's worker ended: ${event.message || 'it did not start'}. Reload the page to go on.` });
};
element('toggle', HTMLButtonElement).addEventListener('click', () => {
  wanted = !wanted;
  showTrouble('');
  settle();
});
element('settings', HTMLFormElement).addEventListener('change', onForm);
element('settings', HTMLFormElement).addEventListener('submit', (event) => event.preventDefault());
document.addEventListener('visibilitychange', () => setTimeout(settle, VISIBLE_MS));
addEventListener('pagehide', leave);
addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload(); // its volunteer has left; begin anew
});
fillForm();
void watchBattery();
ask({ kind: 'look' });
void repeat(refreshCredit, 10000, () => {});
