// Numbers, durations and times for people, in the page's language.
import { h } from "./dom.js";
import { locale, t } from "./i18n.js";

const made = new Map();

function formatter(kind, options) {
  const key = `${locale} ${kind.name} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new kind(locale, options));
  return made.get(key);
}

export const UNKNOWN = "–";

export function number(value, digits = 0) {
  if (value === null || value === undefined) return UNKNOWN;
  return formatter(Intl.NumberFormat, { maximumFractionDigits: digits }).format(value);
}

// For rates: two digits that mean something.
export function rate(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return number(value, value < 10 ? (value < 1 ? 2 : 1) : 0);
}

export function percent(share) {
  if (share === null || share === undefined) return UNKNOWN;
  // 99.97 % isn't 100 %.
  const cut = share < 1 ? Math.min(share, 0.999) : 1;
  return formatter(Intl.NumberFormat, { style: "percent", maximumFractionDigits: 1 }).format(cut);
}

function unit(value, name, digits = 0, unitDisplay = "short") {
  return formatter(Intl.NumberFormat, { style: "unit", unit: name, unitDisplay, maximumFractionDigits: digits }).format(
    value,
  );
}

export function milliseconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 1000) return unit(value, "millisecond");
  return unit(value / 1000, "second", value < 10000 ? 1 : 0);
}

// At most two units: "3 min 20 sec", "2 days 4 hr"; for an axis "3m 20s".
export function shortDuration(seconds) {
  return duration(seconds, "narrow");
}

export function duration(seconds, display = "short") {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds > 0 && seconds < 10) return unit(seconds, "second", 1, display);
  const units = [
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
    ["second", 1],
  ];
  const whole = Math.max(0, Math.round(seconds));
  const at = units.findIndex(([, size]) => whole >= size);
  if (at < 0) return unit(0, "second", 0, display);
  const [name, size] = units[at];
  const text = unit(Math.floor(whole / size), name, 0, display);
  const rest = at + 1 < units.length ? Math.floor((whole % size) / units[at + 1][1]) : 0;
  return rest > 0 ? `${text} ${unit(rest, units[at + 1][0], 0, display)}` : text;
}

export function bytes(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  return unit(value, units[at], value < 10 && at > 0 ? 1 : 0);
}

// ---- times ----

let skew_s = 0;

// The server's clock counts: a browser whose clock is wrong must not show "in 3 hours".
export function setServerTime(at) {
  skew_s = at - Date.now() / 1000;
}

export function now() {
  return Date.now() / 1000 + skew_s;
}

export function absolute(at) {
  return formatter(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "medium" }).format(new Date(at * 1000));
}

export function relative(at) {
  const ago = at - now();
  const size = Math.abs(ago);
  const format = formatter(Intl.RelativeTimeFormat, { numeric: "always", style: "long" });
  if (size < 5) return t("time.now");
  if (size < 60) return format.format(Math.round(ago), "second");
  if (size < 3600) return format.format(Math.round(ago / 60), "minute");
  if (size < 86400) return format.format(Math.round(ago / 3600), "hour");
  if (size < 86400 * 60) return format.format(Math.round(ago / 86400), "day");
  return format.format(Math.round(ago / 86400 / 30), "month");
}

export function wantsAbsolute() {
  try {
    return localStorage.getItem("fedpush.times") === "absolute";
  } catch {
    return false;
  }
}

function word(at) {
  return wantsAbsolute() ? absolute(at) : relative(at);
}

// <time>, or a dash; kept right by refreshTimes.
export function time(at) {
  if (at === null || at === undefined) return UNKNOWN;
  return h("time", { datetime: new Date(at * 1000).toISOString(), title: absolute(at), "data-at": at }, word(at));
}

export function refreshTimes() {
  for (const element of document.querySelectorAll("time[data-at]")) {
    const text = word(Number(element.dataset.at));
    if (element.textContent !== text) element.textContent = text;
  }
}
