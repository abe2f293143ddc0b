// The server's API, relative to where the page itself came from (it may live under a prefix).
import { has, t } from "./i18n.js";
import { words } from "./said.js";

const BASE = new URL("api/v1/", document.baseURI);

class Problem extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
  }
}

export const session = { me: null };

export function url(path) {
  return new URL(path, BASE);
}

function headers(method) {
  const told = { Accept: "application/json" };
  if (method !== "GET") {
    told["Content-Type"] = "application/json";
    if (session.me?.csrf) told["X-Fedpush-CSRF"] = session.me.csrf;
  }
  return told;
}

// A proxy's answer is no JSON.
function detailsIn(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function problem(answer, text) {
  const said = detailsIn(text);
  if (answer.status === 401) dispatchEvent(new Event("fedpush:signed-out"));
  const title = `status.${answer.status}`;
  return new Problem(
    answer.status,
    has(title) ? t(title) : said.title || t("problem.status", { status: String(answer.status) }),
    said.detail ? words({ ...said, text: said.detail }) : "",
  );
}

const WAIT_MS = 30000;
// What reads or empties whole queues.
export const LONG_WAIT_MS = 180000;

/*
 * extra: { headers, poll, wait_ms }; poll: nobody has asked for it, so that it doesn't keep the session. The time
 * is for the whole answer.
 */
async function send(method, path, body, extra) {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), extra?.wait_ms ?? WAIT_MS);
  try {
    const answer = await fetch(url(path), {
      method,
      headers: { ...headers(method), ...(extra?.poll ? { "X-Fedpush-Poll": "1" } : {}), ...extra?.headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: end.signal,
    });
    return { answer, text: await answer.text() };
  } catch {
    const key = end.signal.aborted ? "problem.late" : "problem.network";
    throw new Problem(0, t(key), t(`${key}.detail`));
  } finally {
    clearTimeout(timer);
  }
}

function read({ answer, text }) {
  if (!answer.ok) throw problem(answer, text);
  return text === "" ? {} : JSON.parse(text);
}

export async function get(path, extra) {
  return read(await send("GET", path, undefined, extra));
}

// For lists that are asked for again and again: what came last, when it hasn't changed.
const lists = new Map();
const LISTS_KEPT = 60;

export async function getList(path, extra) {
  const last = lists.get(path);
  const got = await send("GET", path, undefined, { ...extra, headers: last ? { "If-None-Match": last.etag } : {} });
  if (got.answer.status === 304 && last) return last.body;
  const body = read(got);
  const etag = got.answer.headers.get("ETag");
  lists.delete(path);
  if (etag) lists.set(path, { etag, body });
  if (lists.size > LISTS_KEPT) lists.delete(lists.keys().next().value);
  return body;
}

export async function loadMe() {
  session.me = await get("me");
  return session.me;
}

// The token against forged requests changes with the session; an old one is renewed once.
export async function post(path, body, method = "POST", extra = undefined) {
  let got = await send(method, path, body, extra);
  if (got.answer.status === 403 && session.me) {
    const before = session.me.csrf;
    await loadMe();
    if (session.me.csrf !== before) got = await send(method, path, body, extra);
  }
  return read(got);
}

export function mayAct() {
  return session.me?.right === "act";
}
