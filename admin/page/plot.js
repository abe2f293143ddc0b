// The plots over time, each with its words and its table for those who can't see it.
import uPlot from "./uPlot.esm.js";
import { get } from "./api.js";
import { h, setText, svg } from "./dom.js";
import { duration, milliseconds, now, number, rate, shortDuration, UNKNOWN } from "./format.js";
import { locale, t } from "./i18n.js";
import { loading, problemBox } from "./notice.js";

const SPANS = ["1h", "24h", "7d", "30d"];
const AGAIN_MS = 30000;
const HEIGHT_PX = 170; // app.css keeps the place

// The last step is the present one: only what has passed of it counts.
function perSecond(data) {
  const begun = data.from + (data.delivered.length - 1) * data.step_s;
  const passed_s = Math.min(Math.max(now() - begun, 1), data.step_s);
  return (value, at) => value / (at === data.delivered.length - 1 ? passed_s : data.step_s);
}

/* Lines differ in dash and weight, not only in colour. `of` makes what turns a count of a step into what is shown. */
const PLOTS = [
  {
    id: "delivered",
    show: rate,
    of: perSecond,
    fleet: true,
    lines: [{ key: "delivered", tone: "good", width: 2, fill: true }],
  },
  {
    id: "delivered.host",
    show: number,
    counts: true,
    host: true,
    lines: [{ key: "delivered", tone: "good", width: 2, fill: true }],
  },
  {
    id: "failed",
    show: number,
    counts: true,
    lines: [
      { key: "retried", tone: "warn", width: 2 },
      { key: "rejected", tone: "bad", width: 2, dash: [7, 4] },
      { key: "exhausted", tone: "held", width: 2, dash: [2, 4] },
    ],
  },
  {
    id: "latency",
    show: milliseconds,
    log: true,
    lines: [
      { key: "p50_ms", tone: "note", width: 2.5 },
      { key: "p95_ms", tone: "note", width: 1.75, dash: [7, 4] },
      { key: "p99_ms", tone: "note", width: 1.5, dash: [2, 4] },
    ],
  },
  {
    id: "age",
    show: duration,
    axis: shortDuration,
    fleet: true,
    lines: [{ key: "oldest_age_s", tone: "note", width: 2, fill: true }],
  },
];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function sample(line) {
  return svg(
    "svg",
    { viewBox: "0 0 28 8", class: `sample stroke-${line.tone}`, "aria-hidden": "true" },
    svg("path", { d: "M1 4H27", "stroke-width": line.width, "stroke-dasharray": line.dash?.join(" ") }),
  );
}

function stepDate(data, at) {
  const options = data.step_s >= 86400 ? { dateStyle: "medium" } : { dateStyle: "short", timeStyle: "short" };
  return new Intl.DateTimeFormat(locale, options).format(new Date(at * 1000));
}

function axisTimes(data) {
  const hours = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" });
  const days = new Intl.DateTimeFormat(locale, { month: "numeric", day: "numeric" });
  return (plot, splits, axis, space, step) =>
    splits.map(at => {
      const date = new Date(at * 1000);
      return step >= 86400 || (data.span !== "1h" && date.getHours() === 0 && date.getMinutes() === 0)
        ? days.format(date)
        : hours.format(date);
    });
}

function values(spec, data, line) {
  const of = spec.of ? spec.of(data) : value => value;
  // A logarithm has no place for 0 ms.
  return data[line.key].map(of).map(value => (spec.log && value !== null ? Math.max(value, 1) : value));
}

function ends(found) {
  const known = found.filter(value => value !== null && value !== undefined);
  return known.length === 0
    ? null
    : { least: Math.min(...known), most: Math.max(...known), last: known[known.length - 1] };
}

function summary(spec, data, columns) {
  const lines = spec.lines.map((line, at) => {
    const found = ends(columns[at]);
    const name = t(`plot.line.${line.key}`);
    return found === null
      ? t("plot.text.none", { name })
      : t("plot.text.line", {
          name,
          last: spec.show(found.last),
          least: spec.show(found.least),
          most: spec.show(found.most),
        });
  });
  return `${t(`plot.${spec.id}`)}, ${t(`plot.span.${data.span}`)}. ${lines.join(" ")}`;
}

function table(spec, data, times, columns) {
  return h(
    "div",
    { class: "scrolled", tabindex: "0", role: "group", "aria-label": t(`plot.${spec.id}`) },
    h(
      "table",
      { class: "plain" },
      h("caption", { class: "unseen" }, t(`plot.${spec.id}`)),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, t("plot.time")),
          spec.lines.map(line => h("th", { scope: "col", class: "figure" }, t(`plot.line.${line.key}`))),
        ),
      ),
      h(
        "tbody",
        null,
        times
          .map((at, row) =>
            h(
              "tr",
              null,
              h("th", { scope: "row" }, stepDate(data, at)),
              columns.map(column =>
                h("td", { class: "figure" }, column[row] === null ? UNKNOWN : spec.show(column[row])),
              ),
            ),
          )
          .reverse(),
      ),
    ),
  );
}

function topOfScale(spec, most) {
  const least = spec.id === "age" ? 10 : spec.counts ? 5 : 0.5;
  return Math.max(most * 1.08, least);
}

// Of a logarithmic scale only 1, 10, 100, ...: else a thicket.
function decades(plot, splits) {
  return splits.map(value => (Number.isInteger(Math.log10(value)) ? value : null));
}

function draw(spec, data, times, columns, place, width, legend) {
  const quiet = colour("muted");
  const grid = { stroke: colour("line"), width: 1 };
  const axis = { stroke: quiet, font: "12px system-ui, sans-serif", grid, ticks: { show: false } };
  const marks = spec.log ? decades : (plot, splits) => splits;
  return new uPlot(
    {
      width,
      height: HEIGHT_PX,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "fedpush", setSeries: false }, points: { size: 7 }, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: [times[0], times[times.length - 1] || times[0] + 1] },
        y: spec.log ? { distr: 3, log: 10 } : { range: (plot, least, most) => [0, topOfScale(spec, most ?? 0)] },
      },
      axes: [
        { ...axis, values: axisTimes(data), size: 28, space: 70, grid: { show: false } },
        {
          ...axis,
          size: 64,
          space: 36,
          filter: marks,
          grid: { ...grid, filter: marks },
          values: (plot, splits) => splits.map(value => (value === null ? "" : (spec.axis ?? spec.show)(value))),
        },
      ],
      series: [
        {},
        ...spec.lines.map(line => ({
          stroke: colour(line.tone),
          width: line.width,
          dash: line.dash,
          points: { show: false },
          spanGaps: false,
          fill: line.fill ? colour(`${line.tone}-wash`) : undefined,
        })),
      ],
      hooks: { setCursor: [plot => legend(plot.cursor.idx)] },
    },
    [times, ...columns],
    place,
  );
}

/* One figure: heading, legend with the values under the cursor, the drawing, the table. */
function figure(spec) {
  const named = `plot-${spec.id.replace(".", "-")}`;
  const canvas = h("div", { class: "canvas", role: "img" });
  const values_shown = spec.lines.map(() => h("span", { class: "figure" }));
  const when = h("span", { class: "muted when" });
  const details = h("details", null, h("summary", null, t("plot.table")));
  const element = h(
    "section",
    { class: "card plot", "aria-labelledby": named },
    h("div", { class: "plot-head" }, h("h3", { id: named }, t(`plot.${spec.id}`)), when),
    h(
      "p",
      { class: "legend" },
      spec.lines.map((line, at) =>
        h("span", null, sample(line), " ", t(`plot.line.${line.key}`), " ", values_shown[at]),
      ),
    ),
    canvas,
    details,
  );
  let plot = null;
  let last = null;

  function show(data) {
    last = data;
    const times = data[spec.lines[0].key].map((_, at) => data.from + at * data.step_s);
    const columns = spec.lines.map(line => values(spec, data, line));
    const legend = at => {
      const row = at ?? times.length - 1;
      columns.forEach((column, line) =>
        setText(
          values_shown[line],
          column[row] === null || column[row] === undefined ? UNKNOWN : spec.show(column[row]),
        ),
      );
      setText(
        when,
        at === null || at === undefined
          ? spec.counts
            ? t("plot.each", { step: duration(data.step_s) })
            : ""
          : stepDate(data, times[at]),
      );
    };
    plot?.destroy();
    plot = null;
    canvas.replaceChildren();
    canvas.setAttribute("aria-label", summary(spec, data, columns));
    legend(null);
    if (columns.every(column => ends(column) === null)) canvas.append(h("p", { class: "empty" }, t("plot.none")));
    else if (element.isConnected)
      plot = draw(spec, data, times, columns, canvas, Math.max(canvas.clientWidth, 200), legend);
    if (details.open) details.lastChild.replaceWith(table(spec, data, times, columns));
    details.ontoggle = () => {
      if (details.open && details.childElementCount === 1) details.append(table(spec, data, times, columns));
      else if (!details.open) details.lastChild.remove();
    };
  }

  return {
    spec,
    element,
    show,
    redraw: () => last && show(last),
    resize: () => plot?.setSize({ width: Math.max(canvas.clientWidth, 200), height: HEIGHT_PX }),
    close: () => plot?.destroy(),
  };
}

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

/* The small multiples of the fleet (host: null) or of one host (of whom there are hours, no minutes), with the choice of their span. */
export function plots(host) {
  const figures = PLOTS.filter(spec => !(host === null ? spec.host : spec.fleet)).map(figure);
  const state = h("div");
  let span = host === null ? "1h" : "24h";
  let closed = false;
  let timer = 0;
  let asked = 0;

  async function load() {
    clearTimeout(timer);
    const number_of = ++asked;
    try {
      const data = await get(`series?span=${span}${host === null ? "" : `&host=${encodeURIComponent(host)}`}`);
      if (closed || number_of !== asked) return;
      state.replaceChildren();
      for (const one of figures) one.show(data);
    } catch (problem) {
      if (closed || number_of !== asked) return;
      state.replaceChildren(problemBox(problem, load));
    }
    timer = setTimeout(load, AGAIN_MS);
  }

  const grid = h(
    "div",
    { class: host === null ? "plots" : "plots three" },
    figures.map(one => one.element),
  );
  const element = h(
    "section",
    { "aria-labelledby": "plots-title" },
    h(
      "div",
      { class: "section-head" },
      h("h2", { id: "plots-title" }, t("plot.title")),
      spanChoice(host === null ? SPANS : SPANS.slice(1), span, chosen => {
        span = chosen;
        load();
      }),
    ),
    state,
    grid,
  );
  state.append(loading());
  const watch = new ResizeObserver(() => figures.forEach(one => one.resize()));
  watch.observe(grid);
  const redraw = () => figures.forEach(one => one.redraw());
  addEventListener("fedpush:theme", redraw);
  load();
  return {
    element,
    close() {
      closed = true;
      clearTimeout(timer);
      watch.disconnect();
      removeEventListener("fedpush:theme", redraw);
      figures.forEach(one => one.close());
    },
  };
}

// What the last minutes looked like, beside a number: no axis, no table; the number says it.
export const POINTS = 90;
const FEWEST = 8;

export function sparkline() {
  const line = svg("polyline", { class: "spark-line" });
  const element = svg(
    "svg",
    { viewBox: "0 0 100 24", preserveAspectRatio: "none", class: "spark", "aria-hidden": "true" },
    line,
  );
  return {
    element,
    show(values) {
      if (values.length < FEWEST) return;
      const most = Math.max(...values, 1e-9);
      line.setAttribute(
        "points",
        values
          .map((one, at) => `${((at / (values.length - 1)) * 100).toFixed(2)},${(22 - (one / most) * 20).toFixed(2)}`)
          .join(" "),
      );
    },
  };
}
