// The small multiples: what became of deliveries, how long they took, what waited and was under way.
import { get } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { loading, problemBox } from "./notice.js";
import { figure, PLOTS } from "./plot.js";

const SPANS = ["1h", "24h", "7d", "30d"];
const AGAIN_MS = 30000;

function spanChoice(spans, chosen, onchoose) {
  return h(
    "fieldset",
    { class: "chips" },
    h("legend", { class: "unseen" }, t("plot.span")),
    spans.map(span =>
      h(
        "label",
        { class: "chip" },
        h("input", {
          type: "radio",
          name: "span",
          value: span,
          checked: span === chosen,
          onchange: () => onchoose(span),
        }),
        h("span", null, t(`plot.span.short.${span}`)),
      ),
    ),
  );
}

// While they are shown: drawn to the width that there is, in the colours of the theme.
function keepDrawn(grid, figures) {
  const watch = new ResizeObserver(() => figures.forEach(one => one.resize()));
  const redraw = () => figures.forEach(one => one.redraw());
  watch.observe(grid);
  addEventListener("fedpush:theme", redraw);
  return () => {
    watch.disconnect();
    removeEventListener("fedpush:theme", redraw);
    figures.forEach(one => one.close());
  };
}

/* Of the fleet (host: null) or of one host (of whom there are hours, no minutes), with the choice of their span. */
export function plots(host) {
  const figures = PLOTS.filter(spec => !(host === null ? spec.host : spec.fleet)).map(figure);
  const grid = h("div", { class: "plots" });
  const state = h("div", null, loading());
  const spans = host === null ? SPANS : SPANS.slice(1);
  let span = spans[0];
  let timer = 0;
  let asked = 0;

  async function load(poll = false) {
    clearTimeout(timer);
    timer = setTimeout(load, AGAIN_MS, true);
    const own = ++asked;
    try {
      const data = await get(`series?span=${span}${host === null ? "" : `&host=${encodeURIComponent(host)}`}`, { poll });
      if (own !== asked) return;
      state.replaceChildren();
      for (const one of figures) one.show(data);
    } catch (problem) {
      if (own === asked) state.replaceChildren(problemBox(problem, () => load()));
    }
  }

  const choice = spanChoice(spans, span, chosen => {
    span = chosen;
    load();
  });
  const head = h("div", { class: "section-head" }, h("h2", { id: "plots-title" }, t("plot.title")), choice);
  grid.append(...figures.map(one => one.element));
  const stop = keepDrawn(grid, figures);
  load();
  return {
    element: h("section", { "aria-labelledby": "plots-title" }, head, state, grid),
    close() {
      asked++;
      clearTimeout(timer);
      stop();
    },
  };
}
