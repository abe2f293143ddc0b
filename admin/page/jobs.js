// What waits, by place, class and domain. The server reads the queues for it, so it is done when asked for.
import { get, LONG_WAIT_MS } from "./api.js";
import { h } from "./dom.js";
import { number, time } from "./format.js";
import { has, parts, t } from "./i18n.js";
import { empty, loading, problemBox } from "./notice.js";

function classes(place) {
  const found = Object.entries(place.classes).sort((a, b) => b[1] - a[1]);
  const most = found[0]?.[1] ?? 1;
  return h(
    "ul",
    { class: "bars" },
    found.map(([name, n]) =>
      h(
        "li",
        null,
        h("span", { class: "long" }, name),
        h("span", { class: "figure" }, number(n)),
        h("meter", { min: 0, max: most, value: n, "aria-label": name }),
      ),
    ),
  );
}

const SHOWN = 10;

function domains(name, place) {
  const list = h("tbody");
  const fill = items =>
    list.append(
      ...items.map(one =>
        h(
          "tr",
          null,
          h(
            "th",
            { scope: "row", class: "long" },
            h("a", { href: `#/domains/${encodeURIComponent(one.host)}` }, one.host),
          ),
          h("td", { class: "figure" }, number(one.count)),
        ),
      ),
    );
  fill(place.domains.slice(0, SHOWN));
  const rest = place.domains.slice(SHOWN);
  const more =
    rest.length === 0
      ? null
      : h(
          "button",
          {
            type: "button",
            class: "button",
            onclick: () => {
              fill(rest);
              more.remove();
            },
          },
          t("jobs.more", { n: rest.length }),
        );
  const hidden = place.domains_total - place.domains.length;
  return [
    h(
      "table",
      { class: "plain" },
      h("caption", { class: "unseen" }, t("jobs.domains.of", { place: name })),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, t("jobs.domain")),
          h("th", { scope: "col", class: "figure" }, t("jobs.count")),
        ),
      ),
      list,
    ),
    more,
    hidden > 0 ? h("p", { class: "muted" }, t("jobs.hidden", { n: hidden })) : null,
  ];
}

function card(key, place) {
  const found = place.matched ?? place.total;
  const name = has(`place.${key}`) ? t(`place.${key}`) : key;
  const id = `place-${key}`;
  return h(
    "section",
    { class: "card", "aria-labelledby": id },
    h("div", { class: "title-row" }, h("h2", { id }, name), h("p", { class: "figure total" }, number(found))),
    place.scanned < place.total
      ? h("p", { class: "muted" }, t("jobs.scanned", { scanned: place.scanned, total: place.total }))
      : null,
    found === 0
      ? empty(t("jobs.empty"))
      : [
          h("h3", null, t("jobs.classes")),
          classes(place),
          place.domains.length === 0 ? null : [h("h3", null, t("jobs.domains")), domains(name, place)],
        ],
  );
}

// Of one domain, or of all when it is empty. It is asked for when somebody presses Enter: each count reads the queues.
function choice(domain, onchoose) {
  const field = h("input", {
    type: "search",
    id: "jobs-domain",
    value: domain,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: t("jobs.filter.hint"),
    onchange: () => onchoose(field.value.trim()),
  });
  return h(
    "form",
    { class: "filters", role: "search", onsubmit: event => event.preventDefault() },
    h("label", { class: "unseen", for: "jobs-domain" }, t("jobs.filter")),
    field,
  );
}

export function jobs(root, route) {
  const place = h("div");
  const when = h("p", { class: "muted count" });
  const again = h("button", { type: "button", class: "button", onclick: () => load() }, t("jobs.again"));
  let domain = route.query.get("domain") ?? "";
  let closed = false;

  function choose(chosen) {
    domain = chosen;
    history.replaceState(null, "", `#/jobs${domain === "" ? "" : `?domain=${encodeURIComponent(domain)}`}`);
    load();
  }

  async function load() {
    const asked = domain;
    again.disabled = true;
    place.replaceChildren(loading(t("jobs.counting")));
    try {
      const query = asked === "" ? "" : `?domain=${encodeURIComponent(asked)}`;
      const answer = await get(`jobs${query}`, { wait_ms: LONG_WAIT_MS });
      if (asked !== domain) return;
      if (closed) return;
      when.replaceChildren(...parts("jobs.at", { time: time(answer.at) }));
      place.replaceChildren(
        answer.cut ? h("p", { class: "warning" }, t("jobs.cut")) : "",
        h(
          "div",
          { class: "places" },
          Object.entries(answer.places).map(([name, one]) => card(name, one)),
        ),
      );
    } catch (problem) {
      if (closed || asked !== domain) return;
      place.replaceChildren(problemBox(problem, load));
    }
    again.disabled = false;
  }

  root.append(
    h(
      "div",
      { class: "title-row" },
      h("h1", { tabindex: "-1" }, t("jobs.title")),
      h("div", { class: "actions" }, when, again),
    ),
    h("p", { class: "lead" }, t("jobs.what")),
    choice(domain, choose),
    place,
  );
  load();
  return { title: t("jobs.title"), close: () => (closed = true) };
}
