// Words. A catalogue has for each key a text with {names}, or texts by plural category of {n}.

export const LANGUAGES = { en: "English", ja: "日本語" };

let messages = {};
let categories = new Intl.PluralRules("en");
export let language = "en";
export let locale = "en"; // with the region, which decides about 24 hours and the order of dates

function stored() {
  try {
    return localStorage.getItem("fedpush.language");
  } catch {
    return null;
  }
}

// What was chosen here, else the first of the browser's languages that there is.
export function preferred() {
  const wanted = [stored(), ...navigator.languages].filter(Boolean).map(tag => tag.toLowerCase().split("-")[0]);
  return wanted.find(tag => tag in LANGUAGES) ?? "en";
}

export async function loadLanguage(tag) {
  const answer = await fetch(`${tag}.json`);
  if (!answer.ok) throw new Error(`${tag}.json: ${answer.status}`);
  messages = await answer.json();
  language = tag;
  locale = navigator.languages.find(one => one.toLowerCase().split("-")[0] === tag) ?? tag;
  categories = new Intl.PluralRules(tag);
  document.documentElement.lang = tag;
}

export function chooseLanguage(tag) {
  try {
    localStorage.setItem("fedpush.language", tag);
  } catch {
    // Storage is forbidden: it holds until the page is closed.
  }
  return loadLanguage(tag);
}

// Numbers in a sentence look as numbers elsewhere.
function shown(value) {
  return typeof value === "number" ? value.toLocaleString(locale) : value;
}

// The pieces of a message, so that elements may stand in a sentence.
export function parts(key, values = {}) {
  let message = messages[key];
  if (message === undefined) throw new Error(`no message "${key}" in ${language}.json`);
  if (typeof message === "object") message = message[categories.select(values.n)] ?? message.other;
  return message.split(/\{(\w+)\}/).map((piece, at) => (at % 2 ? shown(values[piece]) : piece));
}

export function t(key, values) {
  return parts(key, values).join("");
}

export function has(key) {
  return key in messages;
}

// Whether there is such a message, and a value for each of its holes.
export function fits(key, values) {
  if (!has(key)) return false;
  const texts = typeof messages[key] === "object" ? Object.values(messages[key]) : [messages[key]];
  return texts.every(text => [...text.matchAll(/\{(\w+)\}/g)].every(found => found[1] in values));
}
