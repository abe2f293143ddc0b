// What the server says itself, {text, code, params}, in the page's language. What this page has no words for,
// of a newer server or an older machine, is shown as it came: in English.
import { h } from "./dom.js";
import { bytes, duration, milliseconds } from "./format.js";
import { fits, t } from "./i18n.js";

// A value's name says its unit.
function shown(name, value) {
  if (Array.isArray(value)) return joined(value);
  if (typeof value !== "number") return value;
  if (name.endsWith("_s")) return duration(value);
  if (name.endsWith("_ms")) return milliseconds(value);
  return name.endsWith("_bytes") ? bytes(value) : value;
}

function valuesOf(said) {
  const given = Object.entries(said.params ?? {}).filter(([, value]) => value !== null);
  return Object.fromEntries(given.map(([name, value]) => [name, shown(name, value)]));
}

function translated(said) {
  const values = valuesOf(said);
  return said.code && fits(`said.${said.code}`, values) ? t(`said.${said.code}`, values) : null;
}

export function words(said) {
  return translated(said) ?? said.text;
}

export function joined(list) {
  return list.map(words).join(t("list.comma"));
}

// As an element that tells in which language it is.
export function saying(said) {
  const own = translated(said);
  return own === null ? h("span", { lang: "en" }, said.text) : h("span", null, own);
}

// What an order has done, a line each.
export function lines(reply) {
  return Array.isArray(reply.says) ? reply.says.map(words) : reply.text.split("\n").filter(Boolean);
}

// Who ordered something; "token NAME" is the server's word for a program.
export function person(who) {
  const token = "token ";
  return who.startsWith(token) ? t("who.token", { name: who.slice(token.length) }) : who;
}
