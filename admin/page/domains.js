// All domains: searched, filtered and sorted by the server.
import { h, setText } from "./dom.js";
import { milliseconds, number, percent, time } from "./format.js";
import { t } from "./i18n.js";
import { empty, problemBox, say } from "./notice.js";
import { Pages } from "./pages.js";
import { windowed } from "./rows.js";
import { joined } from "./said.js";
import { DOMAIN_STATES, shape, state, tone } from "./states.js";

const AGAIN_MS = 10000;
const TYPED_MS = 250;

const COLUMNS = [
  {
    key: "host",
    first: "asc",
    cell: item => [h("a", { href: domainLink(item.host) }, item.host), phoneState(item), small(item)],
  },
  { key: "state", first: "asc", cell: item => state("domain", item.state) },
  { key: "delivered", first: "desc", figure: true, cell: item => number(item.delivered) },
  { key: "failed", first: "desc", figure: true, cell: item => number(item.retried + item.rejected + item.exhausted) },
  { key: "success_rate", first: "asc", figure: true, cell: item => percent(item.success_rate) },
  { key: "p95_ms", first: "desc", figure: true, cell: item => milliseconds(item.p95_ms) },
  { key: "last_success_at", first: "desc", cell: item => time(item.last_success_at) },
  { key: "failing_since", first: "asc", cell: item => time(item.failing_since) },
];

function domainLink(host) {
  return `#/domains/${encodeURIComponent(host)}`;
}

// Where there is no room for the column of states; app.css shows one of both.
function phoneState(item) {
  return h("span", { class: "phone-state" }, state("domain", item.state));
}

function small(item) {
  const policy = item.policy_says ? joined(item.policy_says) : item.policy;
  const words = policy ?? (item.state === "healthy" || item.state === "idle" ? null : item.last_error);
  return words ? h("span", { class: "under", title: words }, words) : null;
}

function blankRow(index) {
  return h(
    "tr",
    { "aria-rowindex": index + 2, class: "blank" },
    COLUMNS.map((column, at) => h("td", { class: `col-${column.key}` }, at === 0 ? t("loading") : "")),
  );
}

function itemRow(item, index) {
  return h(
    "tr",
    { "aria-rowindex": index + 2 },
    COLUMNS.map((column, at) =>
      h(
        at === 0 ? "th" : "td",
        { scope: at === 0 ? "row" : null, class: `col-${column.key}${column.figure ? " figure" : ""}` },
        column.cell(item),
      ),
    ),
  );
}

function stateChips(chosen, onchoose) {
  const chip = (value, words, mark) =>
    h(
      "label",
      { class: "chip" },
      h("input", { type: "radio", name: "state", value, checked: value === chosen, onchange: () => onchoose(value) }),
      h("span", { class: value ? `tone-${tone(value)}` : null }, mark, h("span", null, words)),
    );
  return h(
    "fieldset",
    { class: "chips wrap" },
    h("legend", { class: "unseen" }, t("domains.state")),
    chip("", t("domains.all"), null),
    DOMAIN_STATES.map(name => chip(name, t(`domain.state.${name}`), shape(name))),
  );
}

function heading(query, onsort) {
  const arrow = order => h("span", { class: `arrow ${order}`, "aria-hidden": "true" });
  return h(
    "tr",
    { "aria-rowindex": 1 },
    COLUMNS.map(column => {
      const sorted = query.sort === column.key;
      return h(
        "th",
        {
          scope: "col",
          class: `col-${column.key}${column.figure ? " figure" : ""}`,
          "aria-sort": sorted ? (query.order === "asc" ? "ascending" : "descending") : null,
        },
        h(
          "button",
          { type: "button", "data-sort": column.key, onclick: () => onsort(column) },
          t(`domains.${column.key}`),
          arrow(sorted ? query.order : ""),
        ),
      );
    }),
  );
}

function hashOf(query) {
  const told = new URLSearchParams();
  if (query.search) told.set("search", query.search);
  if (query.state) told.set("state", query.state);
  if (query.sort !== "delivered" || query.order !== "desc") {
    told.set("sort", query.sort);
    told.set("order", query.order);
  }
  const text = told.toString();
  return text ? `#/domains?${text}` : "#/domains";
}

function pathOf(query, offset, limit) {
  const told = new URLSearchParams({ sort: query.sort, order: query.order, limit, offset });
  if (query.search) told.set("search", query.search);
  if (query.state) told.set("state", query.state);
  return `domains?${told}`;
}

function queryOf(told) {
  const sort = told.get("sort");
  return {
    search: told.get("search") ?? "",
    state: told.get("state") ?? "",
    sort: COLUMNS.some(column => column.key === sort) ? sort : "delivered",
    order: told.get("order") === "asc" ? "asc" : "desc",
  };
}

/* Search and filter; onchange({ search } or { state }). */
function filters(query, onchange) {
  let typed = 0;
  const search = h("input", {
    type: "search",
    id: "domain-search",
    value: query.search,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: t("domains.search.hint"),
    oninput: () => {
      clearTimeout(typed);
      typed = setTimeout(() => onchange({ search: search.value.trim() }), TYPED_MS);
    },
  });
  const chips = h("div");
  const choose = chosen => chips.replaceChildren(stateChips(chosen, state => onchange({ state })));
  choose(query.state);
  return {
    element: h(
      "form",
      { class: "filters", role: "search", onsubmit: event => event.preventDefault() },
      h("label", { for: "domain-search", class: "unseen" }, t("domains.search")),
      search,
      chips,
    ),
    clear() {
      search.value = "";
      choose("");
      onchange({ search: "", state: "" });
      search.focus();
    },
    close: () => clearTimeout(typed),
  };
}

/* The table with its heading; onsort(column). */
function domainTable(query, onsort) {
  const head = h("thead", null, heading(query, onsort));
  const body = h("tbody");
  const element = h(
    "table",
    { class: "domains", "aria-rowcount": -1, "aria-busy": "true" },
    h("caption", { class: "unseen" }, t("domains.caption")),
    head,
    body,
  );
  return {
    element,
    body,
    sorted(column) {
      head.replaceChildren(heading(query, onsort));
      head.querySelector(`[data-sort="${column.key}"]`).focus();
    },
  };
}

function nothingWords(answer, clear) {
  if (answer.total === 0) return empty(t("domains.none"));
  const all = h("button", { type: "button", class: "button", onclick: clear }, t("domains.clear"));
  return empty(t("domains.nomatch"), " ", all);
}

/* How many there are, in words, for the table and for those who listen; rows(n) when it is known. */
function counter(table, rows, clear) {
  const count = h("p", { class: "muted count" });
  const nothing = h("div", { hidden: true });
  let known = null;
  return {
    count,
    nothing,
    isFirst: () => known === null,
    show(answer) {
      const numbers = { n: answer.matched, total: answer.total };
      if (known !== answer.matched) say("domains", t("domains.count", numbers));
      known = answer.matched;
      rows(answer.matched);
      table.setAttribute("aria-rowcount", answer.matched + 1);
      setText(count, t(answer.cut ? "domains.count.cut" : "domains.count", numbers));
      table.hidden = answer.matched === 0;
      nothing.hidden = !table.hidden;
      nothing.replaceChildren(nothingWords(answer, clear));
    },
  };
}

/* Calls look() once a frame when the window shows another part; gives the end of it. */
function whileOpen(look) {
  let frame = 0;
  const moved = () => {
    if (frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      look();
    });
  };
  addEventListener("scroll", moved, { passive: true });
  addEventListener("resize", moved);
  return () => {
    cancelAnimationFrame(frame);
    removeEventListener("scroll", moved);
    removeEventListener("resize", moved);
  };
}

export function domains(root, route) {
  const query = queryOf(route.query);
  const trouble = h("div");
  const table = domainTable(query, sortBy);
  const list = windowed(table.body, { item: index => pages.item(index), row: itemRow, blank: blankRow });
  const found = counter(table.element, list.count, () => filter.clear());
  const filter = filters(query, change);
  const pages = new Pages({ path: (offset, limit) => pathOf(query, offset, limit), onpage, onproblem });
  let timer = 0;

  function onpage(answer) {
    const back_to = found.isFirst() ? route.scroll : 0;
    table.element.removeAttribute("aria-busy");
    trouble.replaceChildren();
    found.show(answer);
    list.show();
    if (back_to > 0) scrollTo(0, back_to);
  }

  function onproblem(problem) {
    table.element.removeAttribute("aria-busy");
    trouble.replaceChildren(problemBox(problem, () => refresh()));
  }

  function refresh(poll = false) {
    clearTimeout(timer);
    timer = setTimeout(refresh, AGAIN_MS, true);
    pages.refresh(list.range(), poll);
  }

  function change(told) {
    Object.assign(query, told);
    pages.forget();
    table.element.setAttribute("aria-busy", "true");
    history.replaceState(null, "", hashOf(query));
    if (table.body.getBoundingClientRect().top < 0) scrollTo({ top: 0 });
    refresh();
  }

  function sortBy(column) {
    const order = query.sort === column.key ? (query.order === "asc" ? "desc" : "asc") : column.first;
    change({ sort: column.key, order });
    table.sorted(column);
    say("sort", t(`domains.sorted.${order}`, { column: t(`domains.${column.key}`) }));
  }

  const stop = whileOpen(() => {
    list.show();
    if (!found.isFirst()) pages.want(list.range());
  });
  const title = h("div", { class: "title-row" }, h("h1", { tabindex: "-1" }, t("domains.title")), found.count);
  root.append(title, filter.element, trouble, table.element, found.nothing);
  refresh();
  return {
    title: t("domains.title"),
    close() {
      clearTimeout(timer);
      filter.close();
      stop();
      pages.close();
    },
  };
}
