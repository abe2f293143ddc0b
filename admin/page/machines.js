// Each machine of the fleet: how it is, how busy, and what can be done with it.
import { h, rebuild } from "./dom.js";
import { bytes, duration, now, number, UNKNOWN } from "./format.js";
import { t } from "./i18n.js";
import { live } from "./live.js";
import { empty, loading, problemBox, toast } from "./notice.js";
import { drainMachine, pauseMachine, readOnlyReason, resumeMachine } from "./orders.js";
import { machineState, state } from "./states.js";

function fact(name, words) {
  return h("div", null, h("dt", null, t(name)), h("dd", null, words));
}

function meter(label, value, most) {
  return h("meter", { min: 0, max: Math.max(most, 1), value: Math.min(value, most), "aria-label": label });
}

function busy(report) {
  return [
    h(
      "div",
      { class: "gauge" },
      h(
        "p",
        null,
        h("span", null, t("machine.flight")),
        h("span", { class: "figure" }, `${number(report.in_flight)} / ${number(report.slots)}`),
      ),
      meter(t("machine.flight"), report.in_flight, report.slots),
    ),
    h(
      "div",
      { class: "gauge" },
      h(
        "p",
        null,
        h("span", null, t("machine.ahead")),
        h("span", { class: "figure" }, `${number(report.held)} / ${number(report.lookahead)}`),
      ),
      meter(t("machine.ahead"), report.held, report.lookahead),
    ),
  ];
}

function told(report) {
  return h(
    "dl",
    { class: "facts narrow" },
    fact("machine.load", report.cpu === null ? UNKNOWN : t("machine.cores", { n: number(report.cpu, 2) })),
    fact("machine.memory", bytes(report.rss_bytes)),
    fact("machine.waiting", number(report.waiting)),
    fact("machine.lanes", number(report.lanes)),
    fact("machine.circuits", number(report.open_circuits)),
    fact("machine.lag", t("machine.ms", { n: report.lag_ms })),
    fact("machine.keys", number(report.keys_waiting)),
    fact("machine.dns", number(report.dns_failures)),
    fact("machine.minute", number(report.recent.delivered)),
    fact("machine.total", number(report.totals.delivered)),
    fact("machine.workers", number(report.workers)),
    fact("machine.up", duration(now() - report.started_at)),
  );
}

function warnings(machine) {
  const report = machine.report;
  const said = [];
  if (!machine.alive) said.push(t("machine.warn.dead", { age: duration(machine.beat_age_s), held: machine.held }));
  else if (report === null) said.push(t("machine.warn.silent"));
  if (report?.suspicious) said.push(t("machine.warn.suspicious"));
  if (report?.postgres) said.push(t("machine.warn.postgres", { problem: report.postgres }));
  if (machine.alive && !machine.listed) said.push(t("machine.warn.unlisted"));
  return said.map(words => h("p", { class: "warning" }, words));
}

function card(machine, again) {
  const report = machine.report;
  const name = report?.host ?? machine.identity;
  async function at_once(act) {
    trouble.replaceChildren();
    try {
      toast(...(await act(machine)));
    } catch (problem) {
      trouble.replaceChildren(problemBox(problem));
    }
  }
  const trouble = h("div");
  const press = (words, style, onclick) =>
    h("button", { type: "button", class: `button ${style}`, onclick, "aria-label": `${words}: ${name}` }, words);
  const actions =
    readOnlyReason() !== null || !machine.alive
      ? null
      : h(
          "div",
          { class: "actions" },
          machine.paused
            ? press(t("action.resume"), "primary", () => at_once(resumeMachine))
            : press(t("action.pause"), "", () => pauseMachine(machine, again)),
          press(t("action.drain"), "danger-line", () => drainMachine(machine, again)),
        );
  return h(
    "article",
    { class: "card machine", "aria-label": name },
    h("div", { class: "title-row" }, h("h2", { class: "host" }, name), state("machine", machineState(machine))),
    h(
      "p",
      { class: "muted" },
      report ? t("machine.versions", { version: report.version, mastodon: report.mastodon ?? UNKNOWN }) : "",
      " ",
      h("code", null, machine.identity),
    ),
    warnings(machine),
    report ? [busy(report), told(report)] : null,
    trouble,
    actions,
  );
}

export function machines(root) {
  const reason = readOnlyReason();
  const cards = new Map(); // identity -> place
  const grid = h("div", { class: "machines" });
  const nothing = h("div", null, loading());
  root.append(
    h("h1", { tabindex: "-1" }, t("machines.title")),
    reason === null ? "" : h("p", { class: "muted readonly" }, reason),
    nothing,
    grid,
  );

  function again() {
    update();
  }

  // A card under somebody's finger or focus keeps its buttons: only what changed around them is built again.
  function refresh(place, machine) {
    const focus = place.contains(document.activeElement)
      ? [...place.querySelectorAll("button")].indexOf(document.activeElement)
      : -1;
    rebuild(place, JSON.stringify(machine), () => card(machine, again));
    if (focus >= 0 && !place.contains(document.activeElement)) place.querySelectorAll("button")[focus]?.focus();
  }

  function update() {
    const seen = live.overview?.machines;
    if (seen === undefined) return;
    nothing.replaceChildren(seen.length === 0 ? empty(t("machines.none")) : "");
    for (const [identity, place] of cards) {
      if (seen.some(machine => machine.identity === identity)) continue;
      place.remove();
      cards.delete(identity);
    }
    for (const machine of seen) {
      if (!cards.has(machine.identity)) {
        cards.set(machine.identity, h("div"));
        grid.append(cards.get(machine.identity));
      }
      refresh(cards.get(machine.identity), machine);
    }
  }

  update();
  return { title: t("machines.title"), update, close() {} };
}
