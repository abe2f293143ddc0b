// All domains: the API gives pages of 200, the table holds as many rows as the window shows.
import { getList } from "./api.js";
import { h, setText } from "./dom.js";
import { milliseconds, number, percent, time } from "./format.js";
import { t } from "./i18n.js";
import { empty, problemBox, say } from "./notice.js";
import { DOMAIN_STATES, shape, state, tone } from "./states.js";

const PAGE = 200;
const ROW_PX = 52; // app.css says the same
const AROUND = 10;
const PAGES_KEPT = 30;
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
  const words = item.policy ?? (item.state === "healthy" || item.state === "idle" ? null : item.last_error);
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

function spacer() {
  const cell = h("td"); // in the first column: one over all would give hidden columns their width back
  return {
    row: h("tr", { "aria-hidden": "true", class: "spacer" }, cell),
    set: height => (cell.style.height = `${height}px`),
  };
}

/* The rows that the window shows, of `total`; `item(index)` is one or undefined while it is being asked for. */
function windowed(body, item) {
  const above = spacer();
  const below = spacer();
  const rows = new Map(); // index -> { element, text }
  let total = 0;
  body.append(above.row, below.row);

  function place(first, last) {
    let before = above.row;
    for (let index = first; index < last; index++) {
      const found = item(index);
      const key = found === undefined ? "" : JSON.stringify(found);
      let row = rows.get(index);
      if (!row || row.key !== key) {
        const element = found === undefined ? blankRow(index) : itemRow(found, index);
        const focused = row?.element.contains(document.activeElement);
        row?.element.remove();
        row = { element, key };
        rows.set(index, row);
        before.after(element);
        if (focused) element.querySelector("a")?.focus({ preventScroll: true });
      } else if (before.nextSibling !== row.element) {
        before.after(row.element);
      }
      before = row.element;
    }
  }

  return {
    count(n) {
      total = n;
    },
    range() {
      const top = body.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(-top / ROW_PX) - AROUND);
      const last = Math.min(total, Math.ceil((innerHeight - top) / ROW_PX) + AROUND);
      return [Math.min(first, total), Math.max(last, Math.min(first, total))];
    },
    show() {
      const [first, last] = this.range();
      for (const [index, row] of rows) {
        if (index >= first && index < last) continue;
        row.element.remove();
        rows.delete(index);
      }
      above.set(first * ROW_PX);
      below.set((total - last) * ROW_PX);
      place(first, last);
    },
  };
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

export function domains(root, route) {
  const query = {
    search: route.query.get("search") ?? "",
    state: route.query.get("state") ?? "",
    sort: COLUMNS.some(column => column.key === route.query.get("sort")) ? route.query.get("sort") : "delivered",
    order: route.query.get("order") === "asc" ? "asc" : "desc",
  };
  let pages = new Map(); // number -> items, or null while it is being asked for
  let generation = 0;
  let known = null;
  let timer = 0;
  let typed = 0;
  let frame = 0;
  let closed = false;

  const search = h("input", {
    type: "search",
    id: "domain-search",
    value: query.search,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: t("domains.search.hint"),
    oninput: () => {
      clearTimeout(typed);
      typed = setTimeout(() => change({ search: search.value.trim() }), TYPED_MS);
    },
  });
  const count = h("p", { class: "muted count" });
  const trouble = h("div");
  const head = h("thead", null, heading(query, sortBy));
  const body = h("tbody");
  const table = h(
    "table",
    { class: "domains", "aria-rowcount": -1, "aria-busy": "true" },
    h("caption", { class: "unseen" }, t("domains.caption")),
    head,
    body,
  );
  const nothing = h("div", { hidden: true });
  const list = windowed(body, index => pages.get(Math.floor(index / PAGE))?.[index % PAGE]);

  function path(page) {
    const told = new URLSearchParams({ sort: query.sort, order: query.order, limit: PAGE, offset: page * PAGE });
    if (query.search) told.set("search", query.search);
    if (query.state) told.set("state", query.state);
    return `domains?${told}`;
  }

  function counted(answer) {
    if (known !== answer.matched) say("domains", t("domains.count", { n: answer.matched, total: answer.total }));
    known = answer.matched;
    list.count(answer.matched);
    table.setAttribute("aria-rowcount", answer.matched + 1);
    setText(count, t(answer.cut ? "domains.count.cut" : "domains.count", { n: answer.matched, total: answer.total }));
    nothing.hidden = answer.matched > 0;
    table.hidden = answer.matched === 0;
    nothing.replaceChildren(
      answer.total === 0
        ? empty(t("domains.none"))
        : empty(
            t("domains.nomatch"),
            " ",
            h("button", { type: "button", class: "button", onclick: clear }, t("domains.clear")),
          ),
    );
  }

  async function load(page) {
    const asked = generation;
    if (!pages.has(page)) pages.set(page, null);
    try {
      const answer = await getList(path(page));
      if (closed || asked !== generation) return;
      pages.delete(page);
      pages.set(page, answer.items);
      while (pages.size > PAGES_KEPT) pages.delete(pages.keys().next().value);
      table.removeAttribute("aria-busy");
      trouble.replaceChildren();
      const first = known === null;
      counted(answer);
      list.show();
      if (first && route.scroll > 0) scrollTo(0, route.scroll); // back to where one was
    } catch (problem) {
      if (closed || asked !== generation) return;
      if (pages.get(page) === null) pages.delete(page);
      table.removeAttribute("aria-busy");
      trouble.replaceChildren(problemBox(problem, refresh));
    }
  }

  function seenPages() {
    const [first, last] = list.range();
    const found = new Set([Math.floor(first / PAGE), Math.floor(Math.max(first, last - 1) / PAGE)]);
    return [...found];
  }

  function look() {
    frame = 0;
    list.show();
    if (known === null) return;
    for (const page of seenPages()) if (!pages.has(page)) load(page);
  }

  function onscroll() {
    if (!frame) frame = requestAnimationFrame(look);
  }

  function refresh() {
    clearTimeout(timer);
    Promise.all(seenPages().map(load)).finally(() => {
      if (!closed) timer = setTimeout(refresh, AGAIN_MS);
    });
  }

  function restart() {
    generation++;
    pages = new Map();
    table.setAttribute("aria-busy", "true");
    history.replaceState(null, "", hashOf(query));
    if (body.getBoundingClientRect().top < 0) scrollTo({ top: 0 });
    refresh();
  }

  function change(told) {
    Object.assign(query, told);
    restart();
  }

  function sortBy(column) {
    const order = query.sort === column.key ? (query.order === "asc" ? "desc" : "asc") : column.first;
    Object.assign(query, { sort: column.key, order });
    head.replaceChildren(heading(query, sortBy));
    head.querySelector(`[data-sort="${column.key}"]`).focus();
    say(
      "sort",
      t(order === "asc" ? "domains.sorted.asc" : "domains.sorted.desc", { column: t(`domains.${column.key}`) }),
    );
    restart();
  }

  const chips = h(
    "div",
    null,
    stateChips(query.state, value => change({ state: value })),
  );
  function clear() {
    search.value = "";
    chips.replaceChildren(stateChips("", value => change({ state: value })));
    change({ search: "", state: "" });
    search.focus();
  }

  root.append(
    h("div", { class: "title-row" }, h("h1", { tabindex: "-1" }, t("domains.title")), count),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: event => event.preventDefault() },
      h("label", { for: "domain-search", class: "unseen" }, t("domains.search")),
      search,
      chips,
    ),
    trouble,
    table,
    nothing,
  );
  addEventListener("scroll", onscroll, { passive: true });
  addEventListener("resize", onscroll);
  refresh();
  return {
    title: t("domains.title"),
    close() {
      closed = true;
      clearTimeout(timer);
      clearTimeout(typed);
      removeEventListener("scroll", onscroll);
      removeEventListener("resize", onscroll);
    },
  };
}
