// The overview as it changes: server-sent events, and polling where those don't come through.
import { get, url } from "./api.js";
import { setServerTime } from "./format.js";

const SILENCE_MS = 9000; // four overviews have not come
const RETRY_MS = [1000, 2000, 3000, 5000, 10000];
const POLL_MS = 5000;
const HIDDEN_MS = 60000; // a browser has six connections to a host: tabs that nobody sees leave them

// status: "connecting" | "live" | "polling" | "lost"; received_ms: of performance.now()
export const live = { status: "connecting", overview: null, received_ms: 0 };

const listeners = new Set();
let source = null;
let failures = 0;
let watchdog = 0;
let retry = 0;
let poll = 0;
let running = false;
let hidden = 0;

export function onLive(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell() {
  for (const listener of [...listeners]) listener(live);
}

function become(status) {
  if (live.status === status) return;
  live.status = status;
  tell();
}

function take(overview, status) {
  live.overview = overview;
  live.received_ms = performance.now();
  live.status = status;
  setServerTime(overview.at);
  tell();
}

function watch() {
  clearTimeout(watchdog);
  watchdog = setTimeout(lose, SILENCE_MS);
}

function close() {
  clearTimeout(watchdog);
  source?.close();
  source = null;
}

// We reconnect ourselves: EventSource gives up for good when a proxy answers 502 during a restart.
function lose() {
  close();
  if (!running) return;
  if (live.status !== "polling") become("lost");
  const wait = RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)];
  clearTimeout(retry);
  retry = setTimeout(connect, wait);
  if (!poll) poll = setTimeout(ask, failures > 1 ? POLL_MS : 1500);
}

function connect() {
  close();
  source = new EventSource(url("events"));
  source.addEventListener("overview", event => {
    failures = 0;
    clearTimeout(poll);
    poll = 0;
    watch();
    take(JSON.parse(event.data), "live");
  });
  source.addEventListener("error", lose);
  watch();
}

async function ask() {
  try {
    const overview = await get("overview", { poll: true });
    if (running && live.status !== "live") take(overview, "polling");
  } catch {
    if (running && live.status !== "live") become("lost");
  }
  if (poll) poll = running && live.status !== "live" ? setTimeout(ask, POLL_MS) : 0;
}

export function startLive() {
  if (running) return;
  running = true;
  failures = 0;
  live.status = "connecting";
  connect();
}

function rest() {
  clearTimeout(retry);
  clearTimeout(poll);
  poll = 0;
  close();
}

export function stopLive() {
  running = false;
  clearTimeout(hidden);
  rest();
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hidden);
  if (!running) return;
  if (document.hidden) hidden = setTimeout(rest, HIDDEN_MS);
  else if (source === null) connect();
});
