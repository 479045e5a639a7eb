// @ts-check
// front.mjs - the front page: the grid as it is now, from /v1/stats.

import { backendName, count, element, getJson, make, megabytes, rate, repeat } from './figures.mjs';

const SHOWN_MAX = 60;
const STATES = Object.freeze({
  computing: 'computing',
  checking: "checking another's work",
  waiting: 'waiting for work',
  idle: 'idle',
});

/**
 * @param {string} id
 * @param {string} text
 */
function set(id, text) {
  const node = element(id, HTMLElement);
  if (node.textContent !== text) node.textContent = text;
}

/** @param {any} volunteer */
function nodeOf(volunteer) {
  const state = Object.hasOwn(STATES, volunteer.state) ? /** @type {keyof typeof STATES} */ (volunteer.state) : 'idle';
  const busy = state === 'computing' || state === 'checking';
  const item = make('li', `node ${state}`, '');
  const lamp = make('span', 'lamp', '');
  lamp.setAttribute('aria-hidden', 'true');
  const speed = busy && volunteer.tokens_per_s > 0 ? `${rate(volunteer.tokens_per_s)} tok/s` : '';
  const n = busy ? Number(volunteer.sequences) || 0 : 0;
  const prompts = n > 0 ? `, ${count(n)} ${n === 1 ? 'prompt' : 'prompts'}` : '';
  const role = volunteer.referee ? "the operator's referee, " : '';
  item.append(
    lamp,
    make('span', 'name', volunteer.name || (volunteer.referee ? 'referee' : 'unnamed device')),
    make('span', 'rate', speed),
    make('span', 'what', `${STATES[state]}${prompts} · ${role}${backendName(volunteer.backend)}`),
  );
  return item;
}

async function refresh() {
  const stats = await getJson('/v1/stats');
  const volunteers = Array.isArray(stats.volunteers) ? stats.volunteers : [];
  set('online', count(stats.online));
  set('rate', rate(stats.tokens_per_s));
  set('confirmed', count(stats.confirmed_lines));
  set('queue', [stats.queued, stats.running, stats.checking].map(count).join(' · '));
  element('grid', HTMLUListElement).replaceChildren(...volunteers.slice(0, SHOWN_MAX).map(nodeOf));
  element('empty', HTMLElement).hidden = volunteers.length > 0;
  const more = element('more', HTMLElement);
  more.hidden = stats.online <= SHOWN_MAX;
  more.textContent = `and ${count(stats.online - SHOWN_MAX)} more`;
  const models = (stats.models ?? []).map((/** @type {any} */ m) => `${m.name} (${megabytes(m.bytes)})`);
  set('models', models.join(', ') || 'none');
}

const example = element('example', HTMLElement);
example.textContent = (example.textContent ?? '').replaceAll('ADDRESS', location.origin);
void repeat(refresh, 2000, (error) => {
  const trouble = element('trouble', HTMLElement);
  trouble.hidden = !error;
  trouble.textContent = error ? `The numbers are not up to date (${error.message}). This page keeps trying.` : '';
});
