// test_ask.mjs - one request at a time, through OpenAI's own client: waiting
// and streamed, with stop strings, several choices, and clients that leave.
// @ts-check

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';

import OpenAI from 'openai';
import { Tokenizer } from 'tokenizers';

import { Grid, ROOT, runLocal, until } from '../grid/grid.mjs';

/** @type {Grid} */
let grid;
/** @type {OpenAI} */
let client;
const model = 'tales-gpt2';
const prompt = 'Once upon a time';

before(async () => {
  grid = await Grid.start();
  client = new OpenAI({ baseURL: `${grid.url}/v1`, apiKey: grid.key, maxRetries: 0 });
});
after(async () => assert.deepEqual(await grid?.stop(), []));

/** @param {any} more */
const local = (more) => runLocal({ custom_id: '', prompt, ...more });
/** How many tokens a text has, by the original tokenizer. @param {string} text */
const tokensOf = async (text) =>
  (await Tokenizer.fromFile(path.join(ROOT, 'ops/models/tales-gpt2/tokenizer.json')).encode(text)).getIds().length;
const queued = async () => {
  const { queued, running, checking } = await grid.ask('/v1/stats');
  return queued + running + checking;
};

test('a client that leaves takes its request with it', async () => {
  for (const stream of [false, true]) {
    const leave = new AbortController();
    const asked = client.completions.create({ model, prompt, stream, max_tokens: 5 }, { signal: leave.signal });
    const ended = stream
      ? asked.then(async (events) => { for await (const _ of /** @type {any} */ (events)); })
      : asked;
    const caught = ended.then(() => 'answered', () => 'left');
    await until(async () => (await queued()) === 1, 'request in the queue', 10_000);
    leave.abort();
    await caught;
    await until(async () => (await queued()) === 0, 'empty queue', 10_000);
  }
});

test('a completion is that of synapse run, confirmed, with its exact usage', async () => {
  grid.volunteer('Ada');
  grid.volunteer('Grace');
  const truth = await local({ max_tokens: 12, temperature: 0 });
  const answer = await client.completions.create({ model, prompt, max_tokens: 12, temperature: 0 });
  assert.match(answer.id, /^cmpl-/);
  assert.equal(answer.object, 'text_completion');
  assert.equal(answer.choices[0].text, truth.text);
  assert.equal(answer.choices[0].finish_reason, truth.finish_reason);
  assert.equal(answer.usage?.completion_tokens, truth.tokens.length);
  assert.equal(answer.usage?.total_tokens, (answer.usage?.prompt_tokens ?? 0) + truth.tokens.length);
  assert.equal(answer.usage?.prompt_tokens, await tokensOf(prompt));
  assert.equal(/** @type {any} */ (answer).synapse.confirmed, true);
  const sampled = await client.completions.create({ model, prompt, max_tokens: 12, temperature: 0.9, seed: 5 });
  assert.equal(sampled.choices[0].text, (await local({ max_tokens: 12, temperature: 0.9, seed: 5 })).text);
});

test('several choices have a seed each', async () => {
  const answer = await client.completions.create({ model, prompt, max_tokens: 8, temperature: 1, seed: 40, n: 3 });
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1, 2]);
  for (const [i, choice] of answer.choices.entries())
    assert.equal(choice.text, (await local({ max_tokens: 8, temperature: 1, seed: 40 + i })).text);
  const n = answer.usage?.prompt_tokens ?? 0;
  assert.ok(n > 0 && n < 12);
});

test('a stream gives the same text, piece by piece, and says that it is confirmed', async () => {
  const truth = await local({ max_tokens: 400, temperature: 0.7, seed: 3 });
  const stream = await client.completions.create({
    model, prompt, max_tokens: 400, temperature: 0.7, seed: 3, stream: true, stream_options: { include_usage: true },
  });
  let text = '', finish = null, confirmed = false, usage = null, pieces = 0;
  for await (const event of stream) {
    assert.equal(event.object, 'text_completion');
    for (const choice of event.choices) {
      assert.equal(finish, null);
      text += choice.text;
      pieces += choice.text ? 1 : 0;
      finish = choice.finish_reason;
    }
    confirmed ||= /** @type {any} */ (event).synapse?.confirmed === true;
    usage = event.usage;
  }
  assert.equal(text, truth.text);
  assert.equal(finish, truth.finish_reason);
  assert.ok(confirmed);
  assert.ok(pieces > 1, `${pieces} pieces`);
  assert.equal(usage?.completion_tokens, truth.tokens.length);
});

test('a stream of confirmed text only comes in one piece', async () => {
  const truth = await local({ max_tokens: 20, temperature: 0 });
  const body = /** @type {any} */ ({ model, prompt, max_tokens: 20, temperature: 0, stream: true, confirmed_only: true });
  const pieces = [];
  for await (const event of /** @type {any} */ (await client.completions.create(body)))
    for (const choice of event.choices) if (choice.text) pieces.push(choice.text);
  assert.deepEqual(pieces, [truth.text]);
});

test('stop strings end the text before them, streamed too', async () => {
  const truth = await local({ max_tokens: 40, temperature: 0 });
  const stop = truth.text.slice(20, 25);
  const before = truth.text.slice(0, truth.text.indexOf(stop));
  const request = { model, prompt, max_tokens: 40, temperature: 0, stop: [stop, 'never-there'] };
  const answer = await client.completions.create(request);
  assert.equal(answer.choices[0].text, before);
  assert.equal(answer.choices[0].finish_reason, 'stop');
  // What stands behind the token that completes the stop string is not charged.
  const kept = /** @type {any} */ (answer).synapse.tokens;
  assert.deepEqual(kept, truth.tokens.slice(0, kept.length));
  assert.ok(kept.length < truth.tokens.length);
  assert.equal(answer.usage?.completion_tokens, kept.length);
  // Log-probabilities are told of the tokens that the text is made of.
  const tokens = (await client.completions.create({ ...request, logprobs: 0 })).choices[0].logprobs?.tokens ?? [];
  assert.ok(tokens.join('').startsWith(before));
  assert.ok(tokens.slice(0, -1).join('').length < before.length);
  let text = '';
  for await (const event of await client.completions.create({ ...request, stream: true })) {
    text += event.choices[0]?.text ?? '';
    assert.ok(before.startsWith(text), `"${text}" is no beginning of "${before}"`);
  }
  assert.equal(text, before);
});

test('a chat is answered, waiting and streamed', async () => {
  /** @type {any} */
  const messages = [{ role: 'user', content: prompt }];
  const truth = await local({ max_tokens: 10, temperature: 0 });
  const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 10, temperature: 0 });
  assert.match(answer.id, /^chatcmpl-/);
  assert.equal(answer.object, 'chat.completion');
  assert.deepEqual(answer.choices[0].message, { role: 'assistant', content: truth.text, refusal: null });
  let text = '', role;
  for await (const event of await client.chat.completions.create({ model, messages, max_tokens: 10, temperature: 0, stream: true })) {
    assert.equal(event.object, 'chat.completion.chunk');
    role ??= event.choices[0]?.delta.role;
    text += event.choices[0]?.delta.content ?? '';
  }
  assert.equal(role, 'assistant');
  assert.equal(text, truth.text);
});

/** @param {{token: string, bytes: number[] | null}[]} tokens */
const joined = (tokens) => Buffer.from(tokens.flatMap((one) => one.bytes ?? [])).toString();

test('log-probabilities come in both shapes, waiting and streamed', async () => {
  const request = { model, prompt, max_tokens: 9, temperature: 0, logprobs: 3 };
  const [choice] = (await client.completions.create(request)).choices;
  const probs = choice.logprobs ?? assert.fail('no logprobs');
  assert.equal(probs.tokens?.length, 9);
  assert.equal(probs.tokens?.join(''), choice.text);
  let at = 0;
  for (const [i, token] of (probs.tokens ?? []).entries()) {
    const own = probs.token_logprobs?.[i] ?? 1;
    const top = probs.top_logprobs?.[i] ?? {};
    assert.ok(own <= 0 && own > -20);
    assert.equal(probs.text_offset?.[i], at);
    assert.equal(Object.keys(top).length, 3);
    assert.equal(top[token], own); // greedy: the best
    assert.equal(Math.max(...Object.values(top)), own);
    assert.ok(Object.values(top).reduce((sum, x) => sum + Math.exp(x), 0) <= 1.001);
    at += token.length;
  }
  const streamed = { tokens: /** @type {string[]} */ ([]), token_logprobs: /** @type {number[]} */ ([]) };
  for await (const event of await client.completions.create({ ...request, stream: true })) {
    streamed.tokens.push(...(event.choices[0]?.logprobs?.tokens ?? []));
    streamed.token_logprobs.push(...(event.choices[0]?.logprobs?.token_logprobs ?? []));
  }
  assert.deepEqual(streamed, { tokens: probs.tokens, token_logprobs: probs.token_logprobs });

  /** @type {any} */
  const messages = [{ role: 'user', content: prompt }];
  const chat = { model, messages, max_tokens: 9, temperature: 0, logprobs: true, top_logprobs: 2 };
  const [said] = (await client.chat.completions.create(chat)).choices;
  const content = said.logprobs?.content ?? assert.fail('no logprobs');
  assert.equal(joined(content), said.message.content);
  assert.deepEqual(content.map((one) => one.logprob), probs.token_logprobs);
  for (const one of content) {
    assert.equal(one.top_logprobs.length, 2);
    assert.deepEqual([one.top_logprobs[0].token, one.top_logprobs[0].logprob], [one.token, one.logprob]);
  }
  const told = [];
  for await (const event of await client.chat.completions.create({ ...chat, stream: true }))
    told.push(...(event.choices[0]?.logprobs?.content ?? []));
  assert.deepEqual(told, content);
  assert.equal((await client.completions.create({ ...request, logprobs: null })).choices[0].logprobs, null);
});

test('biases, penalties and top_k change what is chosen, alike on every route', async () => {
  /** Answered in all three ways; they are one. @param {any} more */
  const all = async (more) => {
    const request = { prompt, max_tokens: 24, temperature: 0, ignore_eos: true, ...more };
    const { prompt: _, ...rest } = request;
    const { logprobs: n_top, ...chat } = rest;
    const one = await client.completions.create({ model, ...request });
    const said = await client.chat.completions.create(/** @type {any} */ ({
      model, messages: [{ role: 'user', content: request.prompt }], ...chat, ...(n_top ? { logprobs: true, top_logprobs: n_top } : {}),
    }));
    const line = (await grid.compute([{ custom_id: 'a', ...request }])).get('a').response.body;
    assert.equal(said.choices[0].message.content, one.choices[0].text);
    assert.equal(line.choices[0].text, one.choices[0].text);
    return /** @type {any} */ (one);
  };
  const plain = await all({});
  const [first] = plain.synapse.tokens;
  assert.ok(!(await all({ logit_bias: { [first]: -100 } })).synapse.tokens.includes(first));
  assert.deepEqual(new Set((await all({ logit_bias: { [first]: 100 } })).synapse.tokens), new Set([first]));
  assert.equal((await all({ top_k: 1, temperature: 2, seed: 9 })).choices[0].text, plain.choices[0].text);
  // Log-probabilities are told after penalties: what each token lost shows
  // beside the same request without, as long as both said the same.
  const penalties = { presence_penalty: 0.02, frequency_penalty: 0.05 };
  const [bare, other] = [await all({ prompt: 'The wolf said to', logprobs: 20, max_tokens: 100 }), await all({ prompt: 'The wolf said to', logprobs: 20, max_tokens: 100, ...penalties })]
    .map((answer) => answer.choices[0].logprobs);
  /** @type {Map<string, number>} */
  const told = new Map();
  /** @param {string} token */
  const cost = (token) => (told.has(token) ? 0.02 + 0.05 * (told.get(token) ?? 0) : 0);
  let compared = 0, most = 0;
  for (const [i, token] of bare.tokens.entries()) {
    const names = Object.keys(bare.top_logprobs[i]).filter((name) => name in other.top_logprobs[i]);
    const lost = names.map((name) => bare.top_logprobs[i][name] - other.top_logprobs[i][name] - cost(name));
    for (const one of lost) assert.ok(Math.abs(one - lost[0]) < 1e-3, `token ${i}: ${names} lost ${lost}`);
    compared += names.filter((name) => told.has(name)).length;
    most = Math.max(most, ...names.map((name) => told.get(name) ?? 0));
    const best = names.reduce((a, b) => (bare.top_logprobs[i][b] - cost(b) > bare.top_logprobs[i][a] - cost(a) ? b : a));
    assert.equal(other.tokens[i], best);
    if (best !== token) break; // from here on they differ
    told.set(token, (told.get(token) ?? 0) + 1);
  }
  assert.ok(compared > 10 && most > 1, `${compared} compared, told ${most} times at most`);
  assert.notEqual(other.tokens.join(''), bare.tokens.join(''));
});

test('a client that leaves while it is computed takes its request with it', async () => {
  for (const stream of [false, true]) {
    const leave = new AbortController();
    const { tokens } = await grid.ask('/v1/stats');
    const body = { model, prompt, stream, max_tokens: 490, ignore_eos: true, n: 16 };
    const asked = client.completions.create(/** @type {any} */ (body), { signal: leave.signal });
    const caught = asked.then(async (events) => { if (stream) for await (const _ of /** @type {any} */ (events)); }).catch(() => {});
    await until(async () => (await grid.ask('/v1/stats')).running > 0, 'request that is computed', 10_000);
    leave.abort();
    await caught;
    await until(async () => (await queued()) === 0, 'empty grid', 10_000);
    assert.ok((await grid.ask('/v1/stats')).tokens - tokens < 16 * 490, 'it was computed to its end');
  }
});

test('a request goes before the lines of batches', async () => {
  const requests = Array.from({ length: 600 }, (_, i) => ({ custom_id: `b-${i}`, prompt: 'The', max_tokens: 40 }));
  const batch = await grid.submit(requests);
  await until(async () => (await grid.ask(`/v1/batches/${batch.id}`)).synapse.queued > 300, 'a long queue', 30_000);
  const start = Date.now();
  await client.completions.create({ model, prompt, max_tokens: 4 });
  const took = Date.now() - start;
  const after = await grid.ask(`/v1/batches/${batch.id}`);
  assert.equal(after.status, 'in_progress', `the batch was done first, in ${took} ms`);
  await client.batches.cancel(batch.id);
  await until(async () => (await queued()) === 0, 'empty queue');
});

test('wrong fields are refused by name', async () => {
  /** @param {any} body @param {number} status @param {string | null} param @param {boolean} [chat] */
  const refused = async (body, status, param, chat = false) => {
    const response = await fetch(`${grid.url}/v1/${chat ? 'chat/' : ''}completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${grid.key}` },
      body: typeof body === 'string' ? body : JSON.stringify({ model, prompt: chat ? undefined : 'x', ...body }),
    });
    const { error } = await response.json();
    assert.deepEqual([response.status, error.param], [status, param], error.message);
  };
  /** @type {[any, string][]} */
  const both = [
    [{ temperature: 3 }, 'temperature'], [{ top_p: 0 }, 'top_p'], [{ max_tokens: 0 }, 'max_tokens'],
    [{ n: 17 }, 'n'], [{ n: 'two' }, 'n'], [{ stream: 1 }, 'stream'], [{ stop: [''] }, 'stop'],
    [{ stream_options: {} }, 'stream_options'], [{ stream: true, stream_options: 3 }, 'stream_options'],
    [{ stream: true, stream_options: { include_usage: 1 } }, 'stream_options'],
    [{ stream: true, stream_options: { include_obfuscation: true } }, 'stream_options'],
    [{ confirmed_only: 'yes' }, 'confirmed_only'], [{ user: 5 }, 'user'], [{ user: 'u'.repeat(513) }, 'user'],
    [{ top_k: -1 }, 'top_k'], [{ top_k: 1.5 }, 'top_k'], [{ temperature: -1 }, 'temperature'], [{ temperature: 'hot' }, 'temperature'],
    [{ top_p: 1.1 }, 'top_p'], [{ frequency_penalty: -3 }, 'frequency_penalty'], [{ frequency_penalty: 'x' }, 'frequency_penalty'],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'], [{ stop: 5 }, 'stop'], [{ stop: 'x'.repeat(257) }, 'stop'],
    [{ logit_bias: { 0: 101 } }, 'logit_bias'], [{ logit_bias: [] }, 'logit_bias'], [{ ignore_eos: 1 }, 'ignore_eos'], [{ max_tokens: 1.5 }, 'max_tokens'],
    [{ seed: 1.5 }, 'seed'], [{ n: 0 }, 'n'], [{ logit_bias: { x: 1 } }, 'logit_bias'],
    [{ presence_penalty: 9 }, 'presence_penalty'], [{ seed: 'x' }, 'seed'], [{ logprobs: 'x' }, 'logprobs'], [{ colour: 1 }, 'colour'],
  ];
  for (const [change, param] of both) {
    await refused(change, 400, param);
    await refused({ messages: [{ role: 'user', content: 'x' }], ...change }, 400, param, true);
  }
  for (const [change, param] of /** @type {[any, string][]} */ ([
    [{ prompt: 5 }, 'prompt'], [{ prompt: '' }, 'prompt'], [{ prompt: 'x '.repeat(3000) }, 'prompt'],
    [{ best_of: 2 }, 'best_of'], [{ echo: true }, 'echo'], [{ suffix: 'x' }, 'suffix'], [{ messages: [] }, 'messages'],
    [{ logprobs: 21 }, 'logprobs'], [{ logprobs: true }, 'logprobs'], [{ top_logprobs: 2 }, 'top_logprobs'],
  ])) await refused(change, 400, param);
  for (const [change, param] of /** @type {[any, string][]} */ ([
    [{}, 'messages'], [{ messages: [{}] }, 'messages'], [{ messages: 'x' }, 'messages'], [{ prompt: 'x', messages: [] }, 'prompt'],
    [{ messages: [{ role: 'user', content: 'x' }], response_format: { type: 'json_object' } }, 'response_format'],
    [{ messages: [{ role: 'user', content: 'x' }], logprobs: 2 }, 'logprobs'],
    [{ messages: [{ role: 'user', content: 'x' }], max_completion_tokens: 0 }, 'max_completion_tokens'],
    [{ messages: [{ role: 'user', content: 'x' }], tools: [{}] }, 'tools'], [{ messages: [{ role: 'user', content: 'x' }], tool_choice: 'auto' }, 'tool_choice'],
    [{ messages: [{ role: 'user', content: 'x' }], top_logprobs: 2 }, 'top_logprobs'],
    [{ messages: [{ role: 'user', content: 'x' }], logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
  ])) await refused(change, 400, param, true);
  await refused({ model: 'gpt-none' }, 404, 'model');
  await refused('{"prompt":', 400, null);
  await refused('[]', 400, '');
  const stranger = await fetch(`${grid.url}/v1/completions`, { method: 'POST', body: '{"prompt":"x"}' });
  assert.equal(stranger.status, 401);
  assert.equal(await queued(), 0);
});
