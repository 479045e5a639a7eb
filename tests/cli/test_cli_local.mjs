// @ts-check
// `synapse run` and `synapse eval` on the demo model, as a person calls them.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const program = join(process.env.SYNAPSE_BUILD ?? "build/dev", "bin/synapse");
const source = "ops/models/tales-gpt2";
const dir = mkdtempSync(join(tmpdir(), "synapse-cli-"));
const model = join(dir, "model with a space");
const golden = JSON.parse(readFileSync(join(source, "golden.json"), "utf8"));

/** @param {string[]} args */
function synapse(...args) {
  const run = spawnSync(program, args, { encoding: "utf8" });
  return { status: run.status, out: run.stdout, err: run.stderr };
}

/** What a call that must work prints. @param {string[]} args */
function prints(...args) {
  const run = synapse(...args);
  assert.equal(run.status, 0, run.err);
  return run.out;
}

before(() => { prints("split", source, model); });
after(() => rmSync(dir, { recursive: true }));

test("run prints the recorded greedy text up to the first close call", () => {
  for (const line of golden.greedy.slice(0, 3)) {
    const clear = line.margins.findIndex((/** @type {number} */ m) => m <= 0.2);
    const n = clear < 0 ? line.new_ids.length : clear;
    if (n === 0) continue;
    const out = JSON.parse(prints("run", model, "--prompt", line.prompt, "--max-tokens", String(n), "--json"));
    assert.deepEqual(out.tokens, line.new_ids.slice(0, n));
    assert.equal(out.prompt_tokens, line.prompt_ids.length);
    assert.equal(out.completion_tokens, n);
    assert.equal(out.finish_reason, "length");
    assert.ok(line.text.includes(out.text));
  }
});

test("run prints the same text plainly, as JSON and with the reference kernels", () => {
  const args = ["run", model, "--prompt", "The wolf", "--max-tokens", "40",
    "--temperature", "0.9", "--top-p", "0.95", "--top-k", "200", "--seed", "11"];
  const plain = prints(...args);
  const json = JSON.parse(prints(...args, "--json"));
  assert.equal(plain, json.text + "\n");
  assert.equal(json.tokens.length, 40);
  assert.equal(prints(...args, "--isa", "ref"), plain);
  assert.equal(prints(...args, "--threads", "3"), plain);
  assert.notEqual(prints(...args, "--seed", "12"), plain);
});

test("bench times all its sequences, on one thread and on two", () => {
  for (const threads of ["1", "2"]) {
    const out = JSON.parse(prints("bench", model, "--prompt", "64", "--new", "4", "--sequences", "16", "--threads", threads));
    for (const name of ["prompt", "decode", "decode_many"]) assert.ok(out[name] > 0, name);
  }
  assert.equal(synapse("bench", model, "--threads", "0").status, 2);
});

test("run stops where the context ends", () => {
  const words = "the king and ".repeat(160);
  const out = JSON.parse(prints("run", model, "--prompt", words, "--max-tokens", "100000", "--json"));
  assert.ok(out.prompt_tokens + out.completion_tokens <= 512);
  assert.ok(out.finish_reason === "stop" || out.prompt_tokens + out.completion_tokens === 512);
});

test("eval prints its two lines", () => {
  const path = join(dir, "golden.json");
  const small = {
    perplexity: { windows: golden.perplexity.windows.slice(0, 2).map((/** @type {number[]} */ w) => w.slice(0, 64)), ppl: 50 },
    greedy: golden.greedy.slice(0, 3),
  };
  writeFileSync(path, JSON.stringify(small));
  const out = prints("eval", model, path);
  const match = /^perplexity ([0-9.]+) golden 50\.0000 delta ([+-][0-9.]+)%\ntop1 (\d+) of 192, margin>0\.1 (\d+) of (\d+)\n$/.exec(out);
  assert.ok(match, out);
  const [ppl, delta, same, clear, all] = match.slice(1).map(Number);
  assert.ok(Math.abs(ppl / 50 - 1 - delta / 100) < 1e-4);
  assert.ok(same >= 180 && clear >= 0.99 * all, out);
  assert.equal(prints("eval", model, path, "--isa", "ref"), out);
});

test("bad calls end with one line that says why", () => {
  const broken = join(dir, "broken.json");
  writeFileSync(broken, '{"perplexity": {"ppl": 5, "windows": [[1, 99999]]}}');
  for (const [args, status, text] of /** @type {[string[], number, RegExp][]} */ ([
    [["run", model], 2, /--prompt/],
    [["run", model, "--prompt", ""], 1, /the prompt has 0 tokens; 1 to 511 are allowed/],
    [["run", model, "--prompt", "x ".repeat(600)], 1, /the prompt has \d+ tokens/],
    [["run", model, "--prompt", "x", "--temperature", "2.5"], 2, /--temperature/],
    [["run", model, "--prompt", "x", "--top-p", "0"], 2, /--top-p/],
    [["run", model, "--prompt", "x", "--top-p", "nan"], 2, /--top-p/],
    [["run", model, "--prompt", "x", "--seed", "-1"], 2, /--seed/],
    [["run", model, "--prompt", "x", "--isa", "mmx"], 2, /mmx/],
    [["run", join(dir, "none"), "--prompt", "x"], 1, /none/],
    [["eval", model, broken], 1, /token ids must be of the vocabulary/],
    [["eval", model, join(dir, "none.json")], 1, /none\.json/],
    [["eval", model], 2, /GOLDEN/],
  ])) {
    const run = synapse(...args);
    assert.equal(run.status, status, run.err);
    assert.match(run.err, text);
    assert.equal(run.out, "");
  }
});
