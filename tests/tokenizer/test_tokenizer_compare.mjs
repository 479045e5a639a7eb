// @ts-check
// Our tokenizer against the original, npm `tokenizers`, on varied lines of text
// for every supported part of a tokenizer.json. Files of your own are compared,
// too: SYNAPSE_TOKENIZERS="a/tokenizer.json b/tokenizer.json".
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Tokenizer } from "tokenizers";

import { texts } from "./texts.mjs";
import { variants } from "./variants.mjs";

const program = join(process.env.SYNAPSE_BUILD ?? "build/dev", "tests/tokenizer/encode_lines");
const dir = mkdtempSync(join(tmpdir(), "tokenizer-"));
after(() => rmSync(dir, { recursive: true }));

/** What ours says of each line. @param {string} path @param {string[]} lines */
function ours(path, lines) {
  const input = lines.map((line) => JSON.stringify(line) + "\n").join("");
  const run = spawnSync(program, [path], { input, maxBuffer: 1 << 30, encoding: "utf8" });
  assert.equal(run.status, 0, run.stderr);
  return run.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
}

// The original gives one U+FFFD for each byte of a run that is not UTF-8, ours
// one for each part that could have begun a character. And it decodes an added
// token that was found in normal text to its normal form, ours to the form in
// the file.
const fold = (/** @type {string} */ s) =>
  s.replace(/\ufffd+/g, "\ufffd").normalize("NFKC");

/** @param {string} path @param {number} n */
async function compare(path, n) {
  const theirs = Tokenizer.fromFile(path);
  const { added_tokens } = JSON.parse(readFileSync(path, "utf8"));
  const special = added_tokens.slice(0, 12).map((/** @type {any} */ t) => t.content);
  const lines = texts(n, 7, special);
  const got = ours(path, lines);

  const encodings = await theirs.encodeBatch(lines, { addSpecialTokens: true });
  const ids = encodings.map((e) => e.getIds());
  const decoded = await theirs.decodeBatch(ids, true);
  assert.equal(got.length, lines.length);
  for (const [i, line] of lines.entries()) {
    assert.equal(String(got[i].ids), String(ids[i]), `ids of ${JSON.stringify(line)}`);
    assert.equal(fold(got[i].text), fold(decoded[i]), `text of ${JSON.stringify(line)}`);
  }
}

const base = JSON.parse(readFileSync("ops/models/tales-gpt2/tokenizer.json", "utf8"));
for (const [name, json] of Object.entries(variants(base)))
  test(`equals the original: ${name}`, async () => {
    const path = join(dir, "tokenizer.json");
    writeFileSync(path, JSON.stringify(json));
    await compare(path, name === "GPT-2" ? 4000 : 1000);
  });

for (const path of (process.env.SYNAPSE_TOKENIZERS ?? "").split(" ").filter(Boolean))
  test(`equals the original: ${path}`, () => compare(path, 4000));
