// @ts-check
// `synapse split` as a person meets it: exit statuses, one clear line for each
// bad input, the same bytes twice, nothing half-made.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const synapse = join(process.env.SYNAPSE_BUILD ?? 'build/dev', 'bin/synapse');
const demo = 'ops/models/tales-gpt2';
const scratch = mkdtempSync(join(tmpdir(), 'synapse split-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** @param {...string} args */
function split(...args) {
  const r = spawnSync(synapse, ['split', ...args], { encoding: 'utf8', timeout: 60000 });
  return { status: r.status, out: r.stdout, err: r.stderr };
}

/** A copy of the demo model that a test may spoil. @param {string} name */
function copy(name) {
  const dir = join(scratch, name);
  cpSync(demo, dir, { recursive: true });
  return dir;
}

/** @param {string} dir */
const files = (dir) => Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name)).toString('base64')]));

test('the same model gives the same files', () => {
  const one = join(scratch, 'one');
  const two = join(scratch, 'two');
  const a = split(demo, one, '--shards', '2');
  const b = split(demo, two, '--shards', '2');
  assert.equal(a.status, 0, a.err);
  assert.equal(a.out, b.out);
  assert.match(a.out, /^tales-gpt2: 6 layers in 2 shards, \d+\.\d MB\nid [0-9a-f]{64}\n$/);
  assert.match(a.err, /^split: 0 %/);
  assert.match(a.err, /split: 100 %, \d+\.\d of \d+\.\d MB\n$/);
  assert.deepEqual(files(one), files(two));
});

test('shards keep to a limit', () => {
  const out = join(scratch, 'limited');
  const r = split(demo, out, '--max-shard-bytes', '3M');
  assert.equal(r.status, 0, r.err);
  const shards = Object.entries(files(out)).filter(([name]) => name.endsWith('.safetensors'));
  assert.ok(shards.length > 2);
  for (const [name, text] of shards) assert.ok(Buffer.from(text, 'base64').length < 3 * 1024 * 1024 + 65536, name);
  const small = split(demo, join(scratch, 'small'), '--max-shard-bytes', '100K');
  assert.equal(small.status, 1);
  assert.match(small.err, /synapse split: a shard of one layer has \d+ bytes, more than the limit of \d+/);
});

test('bad usage is told on stderr with status 2', () => {
  for (const [args, says] of /** @type {[string[], RegExp][]} */ ([
    [[], /HF_DIR and OUT_DIR are needed/],
    [['a'], /HF_DIR and OUT_DIR are needed/],
    [['a', 'b', 'c'], /HF_DIR and OUT_DIR are needed/],
    [['a', 'b', '--shards', '0'], /--shards 0: not 1 to 1024/],
    [['a', 'b', '--shards', '2x'], /--shards 2x: not 1 to 1024/],
    [['a', 'b', '--shards', '99999999999999999999'], /not 1 to 1024/],
    [['a', 'b', '--max-shard-bytes', '5T'], /--max-shard-bytes 5T: not a number of bytes/],
    [['a', 'b', '--shards', '2', '--max-shard-bytes', '5M'], /exclude each other/],
    [['a', 'b', '--equalise', 'maybe'], /--equalise maybe: not on or off/],
    [['a', 'b', '--fast'], /unrecognized option '--fast'/],
  ])) {
    const r = split(...args);
    assert.equal(r.status, 2, args.join(' '));
    assert.match(r.err, says);
    assert.equal(r.out, '');
  }
  assert.equal(split('--help').status, 0);
});

test('each bad input is one line and status 1', () => {
  /** @type {[string, (dir: string) => void, RegExp][]} */
  const cases = [
    ['no config', (d) => rmSync(join(d, 'config.json')), /config\.json: no such file in /],
    ['a family', (d) => edit(d, 'config.json', '"gpt2"', '"bloom"'), /config\.json: model_type: "bloom" is not supported, only gpt2, llama, qwen2$/],
    ['an activation', (d) => edit(d, 'config.json', '"gelu_new"', '"relu"'), /config\.json: activation_function: "relu" is not supported, only "gelu_new"$/],
    ['a key twice', (d) => edit(d, 'config.json', '"n_layer": 6', '"n_layer": 6, "n_layer": 6'), /config\.json: not valid JSON: line \d+: duplicate object key near '"n_layer"'$/],
    ['more layers', (d) => edit(d, 'config.json', '"n_layer": 6', '"n_layer": 7'), /model\.safetensors: tensor h\.6\.ln_1\.weight is missing$/],
    ['another width', (d) => edit(d, 'config.json', '"vocab_size": 4096', '"vocab_size": 4095'), /transformer\.wte\.weight: the shape is not \(4095, 256\) as config\.json says$/],
    ['cut off', (d) => truncateSync(join(d, 'model.safetensors'), 100000), /model\.safetensors: .*data_offsets: .* reaches past the end of the file$/],
    ['no weights', (d) => rmSync(join(d, 'model.safetensors')), /model\.safetensors: no such file in .*, nor model\.safetensors\.index\.json$/],
    ['no tokenizer', (d) => rmSync(join(d, 'tokenizer.json')), /tokenizer\.json: no such file in /],
    ['half a tokenizer', (d) => truncateSync(join(d, 'tokenizer.json'), 5000), /tokenizer\.json: /],
    ['a NaN', (d) => poison(d), /model\.safetensors: transformer\.wte\.weight: row 0, column 0 is NaN$/],
  ];
  for (const [name, spoil, says] of cases) {
    const dir = copy(`bad ${name}`);
    const out = join(scratch, `out ${name}`);
    spoil(dir);
    const r = split(dir, out);
    const lines = r.err.trimEnd().split('\n').filter((line) => !line.startsWith('split: '));
    assert.equal(r.status, 1, `${name}: ${r.err}`);
    assert.equal(lines.length, 1, r.err);
    assert.ok(lines[0].startsWith('synapse split: '));
    assert.match(lines[0], says);
    assert.ok(!existsSync(join(out, 'manifest.json')));
  }
});

/** @param {string} dir @param {string} name @param {string} from @param {string} to */
function edit(dir, name, from, to) {
  const path = join(dir, name);
  const text = readFileSync(path, 'utf8');
  assert.ok(text.includes(from));
  writeFileSync(path, text.replace(from, to));
}

/** The first number of the embedding becomes NaN. @param {string} dir */
function poison(dir) {
  const path = join(dir, 'model.safetensors');
  const bytes = readFileSync(path);
  const n = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, 8 + n).toString());
  bytes.writeUInt16LE(0x7e00, 8 + n + header['transformer.wte.weight'].data_offsets[0]);
  writeFileSync(path, bytes);
}

/** Start a split, kill it when it has begun to write; what ended it. @param {string} out */
async function killed(out) {
  const child = spawn(synapse, ['split', demo, out, '--shards', '6'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise((resolve) => child.on('exit', (_, signal) => resolve(signal)));
  child.stderr.setEncoding('utf8').on('data', (text) => /\d\d %/.test(text) && child.kill('SIGKILL'));
  return ended;
}

test('a split that is killed leaves no manifest, and the next one cleans up', async () => {
  const out = join(scratch, 'killed');
  assert.equal(split(demo, out).status, 0); // a model that is replaced
  let signal = null;
  for (let i = 0; !signal && i < 10; i++) signal = await killed(out); // it may be done first
  assert.equal(signal, 'SIGKILL');
  assert.ok(!existsSync(join(out, 'manifest.json')));
  assert.ok(readdirSync(out).some((name) => name.endsWith('.part')));
  const r = split(demo, out);
  assert.equal(r.status, 0, r.err);
  assert.deepEqual(readdirSync(out).sort(), ['manifest.json', 'shard-00001-of-00001.safetensors', 'tokenizer.json', 'tokenizer_config.json']);
});

test('a folder that holds something else is left alone', () => {
  const before = files(demo);
  const r = split(demo, demo);
  assert.equal(r.status, 1);
  assert.match(r.err, /: not empty, and not a model folder: it has /);
  assert.deepEqual(files(demo), before);
});
