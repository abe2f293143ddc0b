// What the page says about itself: problems, short notices, and words for screen readers.
import { h, icon } from "./dom.js";
import { t } from "./i18n.js";

export function problemBox(problem, again) {
  return h(
    "div",
    { class: "problem", role: "alert" },
    icon("triangle"),
    h(
      "div",
      null,
      h("p", { class: "strong" }, problem.title || t("problem.title")),
      problem.detail || problem.message ? h("p", null, problem.detail || problem.message) : null,
      again ? h("p", null, h("button", { type: "button", class: "button", onclick: again }, t("problem.again"))) : null,
    ),
  );
}

export function empty(...words) {
  return h("p", { class: "empty" }, ...words);
}

export function loading(words = t("loading")) {
  return h("p", { class: "empty", "aria-busy": "true" }, words);
}

// ---- spoken ----

const QUIET_MS = 5000;
const waiting = new Map(); // by subject: only the newest word of each is worth saying
let last_ms = -QUIET_MS;
let timer = 0;

function speak() {
  timer = 0;
  last_ms = performance.now();
  document.getElementById("spoken").textContent = [...waiting.values()].join(" ");
  waiting.clear();
}

export function say(subject, words) {
  waiting.set(subject, words);
  if (!timer) timer = setTimeout(speak, Math.max(0, last_ms + QUIET_MS - performance.now()));
}

// ---- shown for some seconds ----

const SHOWN_MS = 8000;
const SHOWN_LINES = 8;

// `lines`: what the server says it did.
export function toast(words, lines = []) {
  const more = lines.length - SHOWN_LINES;
  const under = more > 1 ? [...lines.slice(0, SHOWN_LINES), t("toast.more", { n: more })] : lines;
  const shown = h(
    "div",
    { class: "toast" },
    h("p", null, words),
    under.map(line => h("p", { class: "under" }, line)),
  );
  document.getElementById("toasts").append(shown);
  say("toast", words);
  setTimeout(() => shown.remove(), SHOWN_MS);
}
