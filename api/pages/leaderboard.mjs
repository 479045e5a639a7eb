// @ts-check
// leaderboard.mjs - the table of accounts, a page of it at a time.

import { backendName, count, element, getJson, make, repeat, share } from './figures.mjs';

const ROWS = 50;
let offset = Math.max(0, Math.floor(Number(new URLSearchParams(location.search).get('offset')) || 0));
let total = 0;

/** The account of this browser, as the contribute page remembers it. */
function ownAccount() {
  try {
    return (localStorage.getItem('synapse.account_id') ?? '').slice(0, 8);
  } catch {
    return '';
  }
}

/**
 * @param {any} row
 * @param {string} own
 */
function rowOf(row, own) {
  const line = document.createElement('tr');
  const isOwn = own !== '' && row.account === own;
  if (isOwn) line.className = 'own';
  const name = make('td', 'name', row.name || 'unnamed');
  name.append(' ', make('span', 'quiet small', String(row.account)));
  if (isOwn) name.append(make('span', 'tag', 'you'));
  if (row.banned) name.append(make('span', 'tag bad', 'banned'));
  if (row.online) name.append(make('span', 'tag', 'online'));
  const backends = Array.isArray(row.backends) ? row.backends.map(backendName).join(', ') : '';
  line.append(
    make('td', 'number', count(row.rank)),
    name,
    make('td', 'number', count(row.credit)),
    make('td', 'number', share(row.reliability)),
    make('td', row.disagreements > 0 ? 'number bad' : 'number', count(row.disagreements)),
    make('td', 'number', count(row.units)),
    make('td', 'number', count(row.tokens)),
    make('td', 'number', count(row.checks)),
    make('td', '', backends),
  );
  return line;
}

async function refresh() {
  const list = await getJson(`/v1/leaderboard?offset=${offset}&limit=${ROWS}`);
  const rows = Array.isArray(list.data) ? list.data : [];
  total = Number(list.total) || 0;
  const own = ownAccount();
  element('rows', HTMLTableSectionElement).replaceChildren(...rows.map((/** @type {any} */ row) => rowOf(row, own)));
  element('caption', HTMLElement).textContent = total === 0
    ? 'No work has been confirmed yet.'
    : `Ranks ${count(offset + 1)} to ${count(offset + rows.length)} of ${count(total)}`;
  element('before', HTMLButtonElement).disabled = offset === 0;
  element('after', HTMLButtonElement).disabled = offset + rows.length >= total;
}

/** @param {Error|null} error */
function onTrouble(error) {
  const trouble = element('trouble', HTMLElement);
  trouble.hidden = !error;
  trouble.textContent = error ? `The table is not up to date (${error.message}). This page keeps trying.` : '';
}

/** @param {number} by */
function turn(by) {
  offset = Math.max(0, offset + by);
  const url = new URL(location.href);
  url.searchParams.set('offset', String(offset));
  history.replaceState(null, '', url);
  refresh().then(() => onTrouble(null), onTrouble);
}

element('before', HTMLButtonElement).onclick = () => turn(-ROWS);
element('after', HTMLButtonElement).onclick = () => turn(ROWS);
void repeat(refresh, 10000, onTrouble);
