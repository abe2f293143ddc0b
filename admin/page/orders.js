// What an admin may order, with the question that each order deserves.
import { mayAct, post, session } from "./api.js";
import { h } from "./dom.js";
import { number } from "./format.js";
import { t } from "./i18n.js";
import { ask, checkbox, field, select, spanOf, spanSelect } from "./dialog.js";

export function readOnlyReason() {
  if (mayAct()) return null;
  return session.me?.login === "none" ? t("readonly.nologin") : t("readonly.right");
}

function domainPath(host, verb) {
  return `domains/${encodeURIComponent(host)}/${verb}`;
}

export function pauseEverything(done) {
  const span = spanSelect();
  return ask({
    title: t("pause.all.title"),
    body: [h("p", null, t("pause.all.what")), field(t("span.label"), span)],
    label: t("pause.all.confirm"),
    danger: true,
    act: async () => {
      await post("pause", { machine: null, for_s: spanOf(span) });
      done?.();
      return t("pause.all.done");
    },
  });
}

export async function resumeEverything() {
  await post("resume", { machine: null });
  return t("resume.all.done");
}

export function pauseMachine(machine, done) {
  const span = spanSelect();
  return ask({
    title: t("pause.machine.title", { machine: machine.report?.host ?? machine.identity }),
    body: [h("p", null, t("pause.machine.what")), field(t("span.label"), span)],
    label: t("pause.confirm"),
    act: async () => {
      await post("pause", { machine: machine.identity, for_s: spanOf(span) });
      done();
      return t("pause.machine.done");
    },
  });
}

export async function resumeMachine(machine) {
  await post("resume", { machine: machine.identity });
  return t("resume.machine.done");
}

export function drainMachine(machine, done) {
  return ask({
    title: t("drain.title", { machine: machine.report?.host ?? machine.identity }),
    body: [h("p", null, t("drain.what", { n: machine.held })), h("p", null, t("drain.after"))],
    label: t("drain.confirm"),
    danger: true,
    act: async () => {
      await post(`machines/${encodeURIComponent(machine.identity)}/drain`, { confirm: machine.identity });
      done();
      return t("drain.done");
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
      await post(domainPath(host, "pause"), { for_s: spanOf(span), now: now.control.checked });
      done();
      return t("pause.domain.done", { host });
    },
  });
}

export async function resumeDomain(host) {
  await post(domainPath(host, "resume"), {});
  return t("resume.domain.done", { host });
}

export async function tryDomain(host) {
  await post(domainPath(host, "try"), {});
  return t("try.done", { host });
}

export function limitDomain(host, policy, done) {
  const at_once = h("input", { type: "number", min: "1", max: "1000", inputmode: "numeric", value: policy?.window || null });
  const rate = h("input", { type: "text", placeholder: "30/m", pattern: "[0-9]+(\\.[0-9]+)?/(s|m|h)", autocomplete: "off", spellcheck: "false" });
  const proxy = h("input", { type: "text", autocomplete: "off", spellcheck: "false", value: policy?.proxy || null });
  const http = select([["", t("limit.http.usual")], ["1", "HTTP/1.1"], ["2", "HTTP/2"]], policy?.http ? String(policy.http) : "");
  const signature = select([["", t("limit.signature.usual")], ["cavage", "draft-cavage"], ["rfc9421", "RFC 9421"]], policy?.signature ?? "");
  const span = spanSelect();
  const clear = checkbox(t("limit.clear"), t("limit.clear.hint"));
  function wanted() {
    const told = {};
    if (at_once.value !== "") told.window = Number(at_once.value);
    if (rate.value !== "") told.rate = rate.value;
    if (proxy.value !== "") told.proxy = proxy.value;
    if (http.value !== "") told.http = http.value;
    if (signature.value !== "") told.signature = signature.value;
    return told;
  }
  return ask({
    title: t("limit.title", { host }),
    body: [h("p", null, t("limit.what")),
           h("div", { class: "fields" }, field(t("limit.window"), at_once, t("limit.window.hint")), field(t("limit.rate"), rate, t("limit.rate.hint")),
             field(t("limit.http"), http), field(t("limit.signature"), signature), field(t("limit.proxy"), proxy, t("limit.proxy.hint")),
             field(t("span.label"), span)),
           clear.row],
    label: t("limit.confirm"),
    ready: () => (clear.control.checked || Object.keys(wanted()).length > 0) && rate.validity.valid && at_once.validity.valid,
    act: async () => {
      await post(domainPath(host, "limit"), clear.control.checked ? { clear: true } : { ...wanted(), for_s: spanOf(span) });
      done();
      return clear.control.checked ? t("limit.cleared", { host }) : t("limit.done", { host });
    },
  });
}

/* What waits is counted first (it may take a while), so that who types the name knows what it is for. */
export function dropDomain(host, count, done) {
  const found = h("p", { "aria-live": "polite" }, t("waiting.counting"));
  const typed = h("input", { type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  count().then(waiting => {
    const all = Object.values(waiting.places).reduce((sum, n) => sum + n, 0);
    found.replaceChildren(t(waiting.cut ? "drop.atleast" : "drop.count", { n: all, count: number(all) }));
  }).catch(problem => found.replaceChildren(problem.message));
  return ask({
    title: t("drop.title", { host }),
    body: [h("p", null, t("drop.what")), found, field(t("drop.type", { host }), typed)],
    label: t("drop.confirm"),
    danger: true,
    ready: () => typed.value.trim() === host,
    act: async () => {
      const reply = await post(domainPath(host, "drop"), { confirm: typed.value.trim() });
      done();
      return reply.text || t("drop.done", { host });
    },
  });
}

