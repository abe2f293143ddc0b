// A plot over time, with its words and its table for those who can't see it.
import uPlot from "./uPlot.esm.js";
import { h, setText, svg } from "./dom.js";
import { duration, milliseconds, now, number, percent, rate, shortDuration, UNKNOWN } from "./format.js";
import { locale, t } from "./i18n.js";

const HEIGHT_PX = 170; // app.css keeps the place

const TELLING_S = 15; // what was delivered is written some seconds later

// The last step is the present one: only what has passed of it counts, and a few seconds tell nothing.
function perSecond(data) {
  const begun = data.from + (data.delivered.length - 1) * data.step_s;
  const passed_s = Math.min(now() - begun, data.step_s);
  return (value, at) => {
    if (at < data.delivered.length - 1) return value / data.step_s;
    return passed_s < TELLING_S ? null : value / passed_s;
  };
}

// The present step, or the one before while nothing is known of the present one.
function latest(column) {
  const last = column.length - 1;
  return column[last] === null || column[last] === undefined ? last - 1 : last;
}

// Of the attempts of each step; null where there was none.
function successes(data) {
  return data.delivered.map((delivered, at) => {
    const all = delivered + data.retried[at] + data.rejected[at] + data.exhausted[at];
    return all === 0 ? null : delivered / all;
  });
}

/* Lines differ in dash and weight, not only in colour. `of` makes what turns a count of a step into what is shown; `column` finds what the API has no list of. */
export const PLOTS = [
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
    id: "success",
    show: percent,
    share: true,
    lines: [{ key: "success", column: successes, tone: "good", width: 2 }],
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
    id: "queue",
    show: number,
    counts: true,
    fleet: true,
    lines: [{ key: "queue_length", tone: "note", width: 2, fill: true }],
  },
  {
    id: "age",
    show: duration,
    axis: shortDuration,
    fleet: true,
    lines: [{ key: "oldest_age_s", tone: "note", width: 2, fill: true }],
  },
  {
    id: "flight",
    show: number,
    counts: true,
    fleet: true,
    lines: [{ key: "in_flight", tone: "note", width: 2, fill: true }],
  },
  {
    id: "circuits",
    show: number,
    counts: true,
    fleet: true,
    lines: [{ key: "open_circuits", tone: "bad", width: 2, fill: true }],
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
  return (line.column?.(data) ?? data[line.key]).map(of).map(value => (spec.log && value !== null ? Math.max(value, 1) : value));
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

function words(spec, value) {
  return value === null || value === undefined ? UNKNOWN : spec.show(value);
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
              columns.map(column => h("td", { class: "figure" }, words(spec, column[row]))),
            ),
          )
          .reverse(),
      ),
    ),
  );
}

// From nothing on, but for shares: whether 97 or 99 % succeed is what is looked for.
function scaleOf(spec, least, most) {
  if (spec.share) return [Math.min(Math.floor((least ?? 1) * 10) / 10, 0.9), 1];
  return [0, Math.max((most ?? 0) * 1.08, spec.id === "age" ? 10 : spec.counts ? 5 : 0.5)];
}

// Of a logarithmic scale only 1, 10, 100, ...: else a thicket.
function decades(plot, splits) {
  return splits.map(value => (Number.isInteger(Math.log10(value)) ? value : null));
}

// A line needs two values beside each other: who has no neighbour gets a point, or nobody would see it.
function loners(plot, series) {
  const known = plot.data[series].map(value => value !== null && value !== undefined);
  return known.flatMap((here, at) => (here && !known[at - 1] && !known[at + 1] ? [at] : []));
}

function draw(spec, { data, times, columns }, place, size, oncursor) {
  const quiet = colour("muted");
  const grid = { stroke: colour("line"), width: 1 };
  const axis = { stroke: quiet, font: "12px system-ui, sans-serif", grid, ticks: { show: false } };
  const marks = spec.log ? decades : (plot, splits) => splits;
  return new uPlot(
    {
      ...size,
      padding: [8, 26, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "fedpush", setSeries: false }, points: { size: 7 }, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: [times[0], times[times.length - 1] || times[0] + 1] },
        y: spec.log ? { distr: 3, log: 10 } : { range: (plot, least, most) => scaleOf(spec, least, most) },
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
          points: { size: Math.max(line.width * 2, 4), fill: colour(line.tone), filter: loners },
          spanGaps: false,
          fill: line.fill ? colour(`${line.tone}-wash`) : undefined,
        })),
      ],
      hooks: { setCursor: [plot => oncursor(plot.cursor.idx)] },
    },
    [times, ...columns],
    place,
  );
}

// The heading's right, and the value of each line: of the step under the cursor, else the latest.
function legendOf(spec) {
  const shown = spec.lines.map(() => h("span", { class: "figure" }));
  const when = h("span", { class: "muted when" });
  const named = (line, at) => h("span", null, sample(line), " ", t(`plot.line.${line.key}`), " ", shown[at]);
  return {
    when,
    element: h("p", { class: "legend" }, spec.lines.map(named)),
    show({ data, times, columns }, at) {
      columns.forEach((column, line) => setText(shown[line], words(spec, column[at ?? latest(column)])));
      const step = spec.counts ? t("plot.each", { step: duration(data.step_s) }) : "";
      setText(when, at === null || at === undefined ? step : stepDate(data, times[at]));
    },
  };
}

// The same numbers as a table, made when somebody opens it.
function detailsOf(spec) {
  const element = h("details", null, h("summary", null, t("plot.table")));
  let seen = null;
  function show() {
    const before = element.querySelector(".scrolled");
    const top = before?.scrollTop ?? 0;
    before?.remove();
    if (!element.open || seen === null) return;
    element.append(table(spec, seen.data, seen.times, seen.columns));
    element.lastChild.scrollTop = top;
  }
  element.addEventListener("toggle", show);
  return {
    element,
    show(found) {
      seen = found;
      show();
    },
  };
}

/* One figure: heading, legend, the drawing, the table. show(data) draws a series of the API. */
export function figure(spec) {
  const id = `plot-${spec.id.replace(".", "-")}`;
  const canvas = h("div", { class: "canvas", role: "img" });
  const legend = legendOf(spec);
  const details = detailsOf(spec);
  const head = h("div", { class: "plot-head" }, h("h3", { id }, t(`plot.${spec.id}`)), legend.when);
  const parts = [head, legend.element, canvas, details.element];
  const element = h("section", { class: "card plot", "aria-labelledby": id }, parts);
  const size = () => ({ width: Math.max(canvas.clientWidth, 200), height: HEIGHT_PX });
  let plot = null;
  let last = null;

  function show(data) {
    last = data;
    const times = data.delivered.map((_, at) => data.from + at * data.step_s);
    const found = { data, times, columns: spec.lines.map(line => values(spec, data, line)) };
    plot?.destroy();
    plot = null;
    canvas.replaceChildren();
    canvas.setAttribute("aria-label", summary(spec, data, found.columns));
    legend.show(found, null);
    details.show(found);
    if (found.columns.every(column => ends(column) === null)) canvas.append(h("p", { class: "empty" }, t("plot.none")));
    else if (element.isConnected) plot = draw(spec, found, canvas, size(), at => legend.show(found, at));
  }

  return {
    element,
    show,
    redraw: () => last && show(last),
    resize: () => plot?.setSize(size()),
    close: () => plot?.destroy(),
  };
}
