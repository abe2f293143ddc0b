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
  ];
}

function card(key, place) {
  const name = has(`place.${key}`) ? t(`place.${key}`) : key;
  const id = `place-${key}`;
  return h(
    "section",
    { class: "card", "aria-labelledby": id },
    h("div", { class: "title-row" }, h("h2", { id }, name), h("p", { class: "figure total" }, number(place.total))),
    place.scanned < place.total
      ? h("p", { class: "muted" }, t("jobs.scanned", { scanned: place.scanned, total: place.total }))
      : null,
    place.total === 0
      ? empty(t("jobs.empty"))
      : [
          h("h3", null, t("jobs.classes")),
          classes(place),
          place.domains.length === 0 ? null : [h("h3", null, t("jobs.domains")), domains(name, place)],
        ],
  );
}

export function jobs(root) {
  const place = h("div");
  const when = h("p", { class: "muted count" });
  const again = h("button", { type: "button", class: "button", onclick: () => load() }, t("jobs.again"));
  let closed = false;

  async function load() {
    again.disabled = true;
    place.replaceChildren(loading(t("jobs.counting")));
    try {
      const answer = await get("jobs", { wait_ms: LONG_WAIT_MS });
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
      if (closed) return;
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
    place,
  );
  load();
  return { title: t("jobs.title"), close: () => (closed = true) };
}
