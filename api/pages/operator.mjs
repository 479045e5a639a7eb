// @ts-check
// operator.mjs - the grid as its operator sees it. The API key is asked for
// once and kept in this tab's session storage only.

import {
  AnswerError, backendName, count, element, getJson, make, megabytes, rate, repeat,
} from './figures.mjs';

const EVERY_MS = 5000, KEY = 'synapse.operator_key';
const DOES = Object.freeze({ computing: 'computes', checking: 'checks', waiting: 'waits', idle: 'idle' });

let key = sessionStorage.getItem(KEY) ?? '';

/** @param {string} id @param {string} text */
function set(id, text) {
  const node = element(id, HTMLElement);
  if (node.textContent !== text) node.textContent = text;
}

/** @param {unknown} seconds  since 1970 */
function moment(seconds) {
  return typeof seconds === 'number' ? new Date(seconds * 1000).toLocaleString() : '–';
}

/** @param {unknown} seconds */
function duration(seconds) {
  if (typeof seconds !== 'number' || !Number.isFinite(seconds)) return '–';
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A cell that holds text, or a node.
 * @param {unknown} content @param {string} [className] */
function cell(content, className = '') {
  const node = make('td', className, content instanceof Node ? '' : String(content ?? ''));
  if (content instanceof Node) node.append(content);
  return node;
}

/** @param {unknown} n */
const number = (n) => cell(count(n), 'number');

/** A name that people typed, with tags behind it.
 * @param {unknown} name @param {string} otherwise @param {[string, string][]} tags text and class */
function named(name, otherwise, tags) {
  const node = cell(name || otherwise, 'name');
  for (const [text, className] of tags) node.append(make('span', `tag ${className}`, text));
  return node;
}

/** Text, and more in small letters below it. @param {string} text @param {string} more */
function twoLines(text, more) {
  const node = cell(text, 'name');
  if (more) node.append(make('div', 'quiet small', more));
  return node;
}

/** Fill a table. @param {string} id @param {string} caption @param {Node[][]} rows */
function table(id, caption, rows) {
  set(`${id}-caption`, caption);
  element(id, HTMLTableSectionElement).replaceChildren(...rows.map((cells) => {
    const line = document.createElement('tr');
    line.append(...cells);
    return line;
  }));
}

/** @param {any} v */
function volunteerRow(v) {
  const does = Object.hasOwn(DOES, v.state) ? DOES[/** @type {keyof typeof DOES} */ (v.state)] : v.state;
  return [
    named(v.name, 'unnamed', v.referee ? [['referee', '']] : []), cell(does), cell(rate(v.tokens_per_s), 'number'),
    number(v.sequences), number(v.units), cell(backendName(v.backend)), cell(v.account),
  ];
}

/** @param {any} stats */
function showStats(stats) {
  for (const id of ['online', 'referees', 'queued', 'running', 'checking', 'callbacks', 'checks', 'disagreements',
    'rollbacks', 'bans']) set(id, count(stats[id]));
  set('rate', rate(stats.tokens_per_s));
  set('confirmed', count(stats.confirmed_lines));
  set('failed', count(stats.failed_lines));
  set('wait', duration(stats.longest_check_wait_s));
  const all = stats.online + stats.referees, shown = stats.volunteers.length;
  table('volunteers', all === 0 ? 'Nobody is there.' : `${count(shown)} of ${count(all)}`, stats.volunteers.map(volunteerRow));
}

/** How many lines are final, as a number and a bar. @param {any} batch */
function progress(batch) {
  const { total, completed, failed } = batch.request_counts;
  const box = document.createDocumentFragment();
  const bar = document.createElement('progress');
  bar.max = Math.max(1, total);
  bar.value = completed + failed;
  bar.setAttribute('aria-label', `final lines of ${batch.id}`);
  box.append(`${count(completed + failed)} of ${count(total)}`, bar);
  return cell(box, 'number');
}

/** @param {any} batch @param {string} owner */
function batchRow(batch, owner) {
  const { queued, running, checking, waiting_because: why } = batch.synapse;
  return [
    twoLines(batch.id, `of ${owner}, ${batch.model ?? 'a model named by each line'}`),
    twoLines(batch.status.replace('_', ' '), why ?? ''),
    progress(batch), number(queued), number(running), number(checking),
    cell(batch.eta ? `${duration(batch.eta.p50)} to ${duration(batch.eta.p90)}` : '–', 'number'),
    cell(moment(batch.expires_at)),
  ];
}

/** @param {any} overview @param {Map<string, string>} names of the keys */
function showOverview({ open_batches: open, batches, lies }, names) {
  table('batches', open === 0 ? 'Nothing is under way.' : `${count(batches.length)} of ${count(open)}, those whose window ends first`,
    batches.map((/** @type {any} */ { key: owner, batch }) => batchRow(batch, names.get(owner) || owner)));
  table('lies', lies.length === 0 ? 'None was caught lately.' : 'The last ones, newest first',
    lies.map((/** @type {any} */ lie) =>
      [cell(moment(lie.at)), named(lie.name, 'unnamed', lie.banned ? [['banned', 'bad']] : []), cell(lie.account)]));
}

/** @param {any} model @param {(ids: string[]) => string} who */
function planRows(model, who) {
  return model.spans.map((/** @type {any} */ span, /** @type {number} */ i) => [
    named(i === 0 ? model.name : '', '', i === 0 && model.pinned ? [['pinned', '']] : []),
    cell(span.first === 0 && span.end === model.shards ? 'whole' : `shards ${span.first + 1} to ${span.end} of ${model.shards}`),
    i === 0 ? number(model.queued) : cell(''),
    cell(who(span.held_by) || 'nobody', 'name'), cell(who(span.to_be_held_by), 'name'),
  ]);
}

/** @param {any} plan */
function showPlan({ models, volunteers }) {
  const names = new Map(volunteers.map((/** @type {any} */ v) => [v.id, v.name || v.id]));
  /** @param {string[]} ids */
  const who = (ids) => ids.map((id) => names.get(id) ?? id).join(', ');
  const short = models.find((/** @type {any} */ m) => m.missing_shard !== null);
  table('plan', short ? `Shard ${short.missing_shard} of ${short.shards} of ${short.name} has nobody with the memory for it.`
    : 'Who holds which part of which model', models.flatMap((/** @type {any} */ m) => planRows(m, who)));
}

/** @param {any} quota @param {(n: unknown) => string} show */
const quotaText = ({ used, limit }, show) => (limit === null ? show(used) : `${show(used)} of ${show(limit)}`);

/** @param {any[]} keys */
function showKeys(keys) {
  table('keys', 'What they may do, and what they use', keys.map((k) => [
    named(k.name, k.id, k.revoked_at === null ? [] : [['revoked', 'bad']]),
    cell(k.hint), cell(k.scopes.join(', ')), number(k.priority),
    cell(quotaText(k.quotas.requests_queued, count), 'number'), cell(quotaText(k.quotas.bytes_stored, megabytes), 'number'),
    cell(quotaText(k.quotas.tokens_per_day, count), 'number'),
  ]));
}

/** Show the grid, or the field for the key. @param {boolean} inside */
function enter(inside) {
  element('enter', HTMLFormElement).hidden = inside;
  element('all', HTMLElement).hidden = !inside;
}

/** @param {string} text */
function trouble(text) {
  const node = element('trouble', HTMLElement);
  node.hidden = text === '';
  node.textContent = text;
}

function forget() {
  key = '';
  sessionStorage.removeItem(KEY);
  enter(false);
}

async function refresh() {
  if (!key) return;
  const asked = key;
  const [overview, keys, stats, plan] = await Promise.all([
    getJson('/v1/overview', asked), getJson('/v1/keys', asked), getJson('/v1/stats'), getJson('/v1/plan')]);
  if (asked !== key) return; // it was forgotten meanwhile
  showStats(stats);
  showOverview(overview, new Map(keys.data.map((/** @type {any} */ k) => [k.id, k.name])));
  showPlan(plan);
  showKeys(keys.data);
  sessionStorage.setItem(KEY, key);
  enter(true);
}

/** @param {Error|null} error */
function onTrouble(error) {
  if (error instanceof AnswerError && (error.status === 401 || error.status === 403)) {
    forget();
    trouble(error.status === 401 ? 'This key is not valid here.' : 'This key lacks the scope operate.');
    element('key', HTMLInputElement).focus();
  } else if (error) {
    trouble(`This page is not up to date (${error.message}). It keeps trying.`);
  } else if (key) {
    trouble('');
  }
}

element('enter', HTMLFormElement).onsubmit = (event) => {
  event.preventDefault();
  const field = element('key', HTMLInputElement);
  key = field.value.trim();
  field.value = '';
  refresh().then(() => onTrouble(null), onTrouble);
};
element('leave', HTMLButtonElement).onclick = () => {
  forget();
  trouble('');
};
enter(key !== '');
void repeat(refresh, EVERY_MS, onTrouble);
