// What an admin may order, with the question that each order deserves.
import { LONG_WAIT_MS, mayAct, post, session } from "./api.js";
import { h } from "./dom.js";
import { number } from "./format.js";
import { t } from "./i18n.js";
import { meant } from "./meant.js";
import { ask, checkbox, field, select, spanOf, spanSelect } from "./dialog.js";
import { lines } from "./said.js";

export function readOnlyReason() {
  if (mayAct()) return null;
  return session.me?.login === "none" ? t("readonly.nologin") : t("readonly.right");
}

function domainPath(host, verb) {
  return `domains/${encodeURIComponent(host)}/${verb}`;
}

export function pauseEverything() {
  const span = spanSelect();
  return ask({
    title: t("pause.all.title"),
    body: [h("p", null, t("pause.all.what")), field(t("span.label"), span)],
    label: t("pause.all.confirm"),
    danger: true,
    act: async () => {
      const reply = await post("pause", { machine: null, for_s: spanOf(span) });
      return [t("pause.all.done"), lines(reply)];
    },
  });
}

export async function resumeEverything() {
  const reply = await post("resume", { machine: null });
  return [t("resume.all.done"), lines(reply)];
}

export function pauseMachine(machine) {
  const span = spanSelect();
  return ask({
    title: t("pause.machine.title", { machine: machine.report?.host ?? machine.identity }),
    body: [h("p", null, t("pause.machine.what")), field(t("span.label"), span)],
    label: t("pause.confirm"),
    act: async () => {
      const reply = await post("pause", { machine: machine.identity, for_s: spanOf(span) });
      return [t("pause.machine.done"), lines(reply)];
    },
  });
}

export async function resumeMachine(machine) {
  const reply = await post("resume", { machine: machine.identity });
  return [t("resume.machine.done"), lines(reply)];
}

export function drainMachine(machine) {
  return ask({
    title: t("drain.title", { machine: machine.report?.host ?? machine.identity }),
    body: [h("p", null, t("drain.what", { n: machine.held })), h("p", null, t("drain.after"))],
    label: t("drain.confirm"),
    danger: true,
    act: async () => {
      const reply = await post(`machines/${encodeURIComponent(machine.identity)}/drain`, { confirm: machine.identity });
      return [t("drain.done"), lines(reply)];
    },
  });
}

export function pauseDomain(host, done) {
  const span = spanSelect("86400");
  const now = checkbox(t("pause.now"), t("pause.now.hint"));
  return ask({
    title: t("pause.domain.title", { host }),
    body: [h("p", null, t("pause.domain.what")), field(t("span.label"), span), now.row],
    label: t("pause.confirm"),
    act: async () => {
      const reply = await post(domainPath(host, "pause"), { for_s: spanOf(span), now: now.control.checked });
      done();
      return [t("pause.domain.done", { host }), lines(reply)];
    },
  });
}

/* Of a domain's pause a part below it may be taken out; of one that only shares the host, no part can. */
function pausedNames({ name, paused_for }) {
  const ownPart = domain => `.${name}`.endsWith(`.${domain.replace(/^\*\./, "")}`);
  return paused_for.length === 0 ? [name] : [...new Set(paused_for.map(domain => (ownPart(domain) ? name : domain)))];
}

export async function resumeDomain(policy) {
  const answers = [];
  for (const name of pausedNames(policy))
    answers.push(...lines(await post(domainPath(name, "resume"), {}, "POST", { wait_ms: LONG_WAIT_MS })));
  return [answers[0], answers.slice(1)];
}

export async function tryDomain(host) {
  const reply = await post(domainPath(host, "try"), {});
  return [t("try.done", { host }), lines(reply)];
}

// What each limit is told to be when there shall be none.
const NO_LIMIT = { window: 0, rate: "0", proxy: "none", http: "1.1", signature: "auto" };

function limitControls(policy) {
  const text = (value, attributes) =>
    h("input", { type: "text", autocomplete: "off", spellcheck: "false", value, ...attributes });
  return {
    window: h("input", { type: "number", min: "1", max: "256", inputmode: "numeric", value: policy?.window || null }),
    rate: text(policy?.rate ? `${policy.rate}/m` : null, { placeholder: "30/m", pattern: "[1-9][0-9]*/[sm]" }),
    proxy: text(policy?.proxy || null),
    http: select(
      [
        ["", t("limit.http.usual")],
        ["2", "HTTP/2"],
      ],
      policy?.http === "2" ? "2" : "",
    ),
    signature: select(
      [
        ["", t("limit.signature.usual")],
        ["cavage", "draft-cavage"],
        ["rfc9421", "RFC 9421"],
      ],
      policy && policy.signature !== "auto" ? policy.signature : "",
    ),
  };
}

export function limitDomain(host, policy, done) {
  const controls = limitControls(policy);
  const span = spanSelect("", t(policy && policy.limits_until ? "span.limits.kept" : "span.limits"));
  const clear = checkbox(t("limit.clear"), t("limit.clear.hint"));
  const before = Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value]));
  // What was emptied is taken back, what was left alone isn't named.
  function wanted() {
    const changed = Object.entries(controls).filter(([name, control]) => control.value !== before[name]);
    return Object.fromEntries(
      changed.map(([name, control]) => [
        name,
        control.value === "" ? NO_LIMIT[name] : name === "window" ? Number(control.value) : control.value,
      ]),
    );
  }
  const row = (name, hint) => field(t(`limit.${name}`), controls[name], hint ? t(`limit.${name}.hint`) : null);
  return ask({
    title: t("limit.title", { host }),
    body: [
      h("p", null, t("limit.what")),
      h(
        "div",
        { class: "fields" },
        row("window", true),
        row("rate", true),
        row("http"),
        row("signature"),
        row("proxy", true),
        field(t("span.label"), span),
      ),
      clear.row,
    ],
    label: t("limit.confirm"),
    ready: () =>
      (clear.control.checked || Object.keys(wanted()).length > 0) &&
      Object.values(controls).every(control => control.validity.valid),
    act: async () => {
      const reply = await post(
        domainPath(host, "limit"),
        clear.control.checked ? { clear: true } : { ...wanted(), for_s: spanOf(span) },
      );
      done();
      return [clear.control.checked ? t("limit.cleared", { host }) : t("limit.done", { host }), lines(reply)];
    },
  });
}

/* What waits is counted first (it may take a while), so that who types the name knows what it is for. */
export function dropDomain(host, count, done) {
  const found = h("div", { "aria-live": "polite" }, h("p", null, t("waiting.counting")));
  const typed = h("input", { type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  count()
    .then(waiting => {
      const all = Object.values(waiting.places).reduce((sum, n) => sum + n, waiting.handoff);
      const words = t(waiting.cut ? "drop.atleast" : "drop.count", { n: all, count: number(all) });
      found.replaceChildren(h("p", { class: "strong" }, words), ...meant(waiting).flat());
    })
    .catch(problem => found.replaceChildren(h("p", null, problem.message)));
  return ask({
    title: t("drop.title", { host }),
    body: [h("p", null, t("drop.what")), found, field(t("drop.type", { host }), typed)],
    label: t("drop.confirm"),
    danger: true,
    ready: () => typed.value.trim() === host,
    act: async () => {
      const confirmed = { confirm: typed.value.trim() };
      const reply = await post(domainPath(host, "drop"), confirmed, "POST", { wait_ms: LONG_WAIT_MS });
      done();
      return [t("drop.done", { host }), lines(reply)];
    },
  });
}
