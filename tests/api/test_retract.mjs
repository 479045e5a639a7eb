// test_retract.mjs - a stream of text that a liar computed: what was told is
// taken back when the lie is found, and the end is the truth, confirmed. Who
// waits for confirmed text never sees the lie.
// @ts-check

import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';

import { Grid, kill, runLocal, until } from '../grid/grid.mjs';

const model = 'tales-gpt2', prompt = 'Once upon a time';
const request = { model, prompt, max_tokens: 60, temperature: 0 };

/** Follow a stream as a client that knows retractions does.
 * @param {AsyncIterable<any>} stream */
function follow(stream) {
  const seen = { text: '', told: /** @type {string[]} */ ([]), retractions: 0, confirmed: /** @type {any} */ (null) };
  const ended = (async () => {
    for await (const { choices, synapse } of stream) {
      if (synapse?.retract) {
        assert.deepEqual([choices, synapse.retract.index], [[], 0]);
        const kept = [...seen.text].slice(0, synapse.retract.position).join('');
        assert.ok(kept.length < seen.text.length);
        seen.text = kept;
        seen.retractions++;
      } else {
        assert.equal(seen.confirmed, null, 'something came after the last piece');
        seen.text += choices[0].text;
        if (choices[0].finish_reason) seen.confirmed = synapse.confirmed;
      }
      seen.told.push(seen.text);
    }
  })();
  return { seen, ended };
}

for (const chat of [false, true]) {
  test(`a lie is taken back (${chat ? 'chat' : 'completion'})`, async () => {
    const grid = await Grid.start();
    try {
      const client = new OpenAI({ baseURL: `${grid.url}/v1`, apiKey: grid.key, maxRetries: 0 });
      const truth = (await runLocal({ custom_id: '', ...request })).text;
      grid.liar('Mallory', 'token');
      await grid.ready(1);
      // Nobody checks yet, so the lie has time to be told.
      const referee = await until(() => grid.findReferee(), 'referee');
      kill(referee, 'SIGSTOP');
      /** @type {any} */
      const stream = chat
        ? await client.chat.completions.create({ model, messages: [{ role: 'user', content: prompt }], max_tokens: 60, temperature: 0, stream: true })
        : await client.completions.create({ ...request, stream: true });
      const pieces = chat
        ? (async function* texts() {
          for await (const event of stream)
            yield { ...event, choices: event.choices.map((/** @type {any} */ c) => ({ ...c, text: c.delta.content ?? '' })) };
        })()
        : stream;
      const sure = grid.ask('/v1/completions', request);
      const { seen, ended } = follow(pieces);
      await until(() => seen.text !== '' && !truth.startsWith(seen.text), 'lie in the stream', 60_000);
      grid.volunteer('Ada');
      await grid.ready(2);
      kill(referee, 'SIGCONT');
      await ended;
      assert.ok(seen.retractions >= 1, JSON.stringify(seen));
      assert.deepEqual([seen.text, seen.confirmed], [truth, true]);
      assert.equal((await sure).choices[0].text, truth);
      assert.ok((await grid.ask('/v1/stats')).disagreements > 0);
    } finally {
      await grid.stop();
    }
  });
}

test('who waits for confirmed text is never told the lie', async () => {
  const grid = await Grid.start();
  try {
    const client = new OpenAI({ baseURL: `${grid.url}/v1`, apiKey: grid.key, maxRetries: 0 });
    const truth = (await runLocal({ custom_id: '', ...request })).text;
    grid.liar('Mallory', 'token');
    await grid.ready(1);
    const stream = /** @type {any} */ (await client.completions.create(/** @type {any} */ ({ ...request, stream: true, confirmed_only: true })));
    const { seen, ended } = follow(stream);
    await until(async () => (await grid.ask('/v1/stats')).disagreements > 0, 'lie that was found', 60_000);
    assert.deepEqual(seen.told, []);
    grid.volunteer('Ada');
    await ended;
    assert.deepEqual([seen.retractions, seen.text, seen.confirmed], [0, truth, true]);
  } finally {
    await grid.stop();
  }
});
