// The catalogues say the same in each language, and the page asks for nothing that they lack.
import test from "node:test";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "admin", "page");
const read = name => JSON.parse(readFileSync(join(PAGE, name), "utf8"));
const english = read("en.json");
const japanese = read("ja.json");
const code = readdirSync(PAGE)
  .filter(name => name.endsWith(".js"))
  .map(name => readFileSync(join(PAGE, name), "utf8"))
  .join("\n");

const texts = message => (typeof message === "string" ? [message] : Object.values(message));
const holes = message => [...new Set(texts(message).flatMap(text => text.match(/\{\w+\}/g) ?? []))].sort();

test("each key is in both catalogues, in the same order", () => {
  assert.deepEqual(Object.keys(japanese), Object.keys(english));
});

test("each message has the same values to fill in", () => {
  for (const key of Object.keys(english)) assert.deepEqual(holes(japanese[key]), holes(english[key]), key);
});

test("messages by number have the categories of their language", () => {
  const wanted = (tag, catalogue) => {
    const categories = new Intl.PluralRules(tag).resolvedOptions().pluralCategories.sort();
    for (const [key, message] of Object.entries(catalogue))
      if (typeof message === "object") assert.deepEqual(Object.keys(message).sort(), categories, `${tag} ${key}`);
  };
  wanted("en", english);
  wanted("ja", japanese);
});

test("Japanese is Japanese: no sentence was left in English", () => {
  for (const [key, message] of Object.entries(japanese))
    for (const text of texts(message))
      if (text === texts(english[key])[0])
        assert.match(text, /^(\{\w+\}|fedpush|Mastodon|[\s·:]|[\w.-]+|PostgreSQL|RFC 9421)*$/, key);
});

test("each key that the page names is there, and no other", () => {
  const literal = new Set([...code.matchAll(/["'`]([a-z_]+(?:\.[a-z0-9_]+)*)["'`]/g)].map(found => found[1]));
  const begun = [...code.matchAll(/`([a-z]+\.(?:[a-z]+\.)*)\$\{/g)].map(found => found[1]);
  const ended = [...code.matchAll(/\$\{\w+\}((?:\.[a-z]+)+)[`.]/g)].map(found => found[1]);
  const unused = Object.keys(english).filter(
    key => !literal.has(key) && !begun.some(start => key.startsWith(start)) && !ended.some(end => key.includes(end)),
  );
  assert.deepEqual(unused, []);
  const named = [...code.matchAll(/\b(?:t|parts|has)\("([^"]+)"/g)].map(found => found[1]);
  assert.ok(named.length > 100);
  assert.deepEqual(
    named.filter(key => !(key in english)),
    [],
  );
});
