// Who ordered what, and when.
import { get } from "./api.js";
import { h } from "./dom.js";
import { time, UNKNOWN } from "./format.js";
import { has, t } from "./i18n.js";
import { empty, loading, problemBox } from "./notice.js";
import { joined, person } from "./said.js";

// "*" is the fleet, "@NAME" a machine, "*.HOST" all hosts below one.
function target(domain) {
  if (domain === "*") return t("audit.fleet");
  if (domain === "" || domain.startsWith("*")) return domain || UNKNOWN;
  if (domain.startsWith("@")) return t("audit.machine", { machine: domain.slice(1) });
  return h("a", { href: `#/domains/${encodeURIComponent(domain)}` }, domain);
}

// A verb that this page doesn't know is shown as the command has it.
function action(one) {
  const key = `did.${one.action.replaceAll(" ", "_")}`;
  return has(key) ? t(key) : h("code", null, one.action);
}

function row(one, with_domain) {
  return h(
    "tr",
    null,
    h("td", null, time(one.at)),
    h("td", null, person(one.who)),
    h("td", null, action(one)),
    with_domain ? h("td", { class: "long" }, target(one.domain)) : null,
    h("td", { class: "long" }, one.says ? joined(one.says) : one.detail),
  );
}

export function auditTable(items, with_domain) {
  if (items.length === 0) return empty(t("audit.none"));
  const columns = ["at", "who", "action", ...(with_domain ? ["domain"] : []), "detail"];
  return h(
    "div",
    { class: "scrolled", tabindex: "0", role: "group", "aria-label": t("audit.title") },
    h(
      "table",
      { class: "plain" },
      h("caption", { class: "unseen" }, t("audit.title")),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          columns.map(name => h("th", { scope: "col" }, t(`audit.${name}`))),
        ),
      ),
      h(
        "tbody",
        null,
        items.map(one => row(one, with_domain)),
      ),
    ),
  );
}

export function audit(root) {
  const place = h("div");
  const trouble = h("div");
  const more = h("button", { type: "button", class: "button", hidden: true, onclick: () => load() }, t("audit.more"));
  let body = null;
  let next = null;
  let closed = false;

  async function load() {
    more.disabled = true;
    try {
      const answer = await get(`audit?limit=50${next === null ? "" : `&before=${encodeURIComponent(next)}`}`);
      if (closed) return;
      trouble.replaceChildren();
      if (body === null) {
        place.replaceChildren(auditTable(answer.items, true));
        body = place.querySelector("tbody");
      } else {
        body.append(...answer.items.map(one => row(one, true)));
      }
      next = answer.next;
      more.hidden = next === null || next === undefined;
    } catch (problem) {
      if (closed) return;
      if (body === null) place.replaceChildren();
      trouble.replaceChildren(problemBox(problem, load));
    }
    more.disabled = false;
  }

  place.append(loading());
  root.append(
    h("h1", { tabindex: "-1" }, t("audit.title")),
    h("p", { class: "lead" }, t("audit.what")),
    trouble,
    place,
    more,
  );
  load();
  return { title: t("audit.title"), close: () => (closed = true) };
}
