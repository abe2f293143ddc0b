// Each machine of the fleet: how it is, how busy, and what can be done with it.
import { h, rebuild, refresh, setText } from "./dom.js";
import { bytes, duration, now, number, UNKNOWN } from "./format.js";
import { t } from "./i18n.js";
import { live } from "./live.js";
import { empty, loading, problemBox, toast } from "./notice.js";
import { drainMachine, pauseMachine, readOnlyReason, resumeMachine } from "./orders.js";
import { joined } from "./said.js";
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
  if (report?.postgres) {
    const problem = report.postgres_says ? joined(report.postgres_says) : report.postgres;
    said.push(t("machine.warn.postgres", { problem }));
  }
  if (machine.alive && !machine.listed) said.push(t("machine.warn.unlisted"));
  return said.map(words => h("p", { class: "warning" }, words));
}

function numbers(machine) {
  const report = machine.report;
  const versions = report && t("machine.versions", { version: report.version, mastodon: report.mastodon ?? UNKNOWN });
  return [
    h("p", { class: "muted" }, versions, " ", h("code", null, machine.identity)),
    warnings(machine),
    report ? [busy(report), told(report)] : null,
  ];
}

/* A machine's card. Its numbers change each two seconds; its buttons only when they mean something else. */
function card() {
  const [title, state_place, body, trouble, actions] = [
    h("h2", { class: "host" }),
    h("div"),
    h("div"),
    h("div"),
    h("div"),
  ];
  body.className = "machine-body";
  const head = h("div", { class: "title-row" }, title, state_place);
  const element = h("article", { class: "card machine" }, head, body, trouble, actions);
  let machine = null;

  async function at_once(act) {
    trouble.replaceChildren();
    try {
      toast(...(await act(machine)));
    } catch (problem) {
      trouble.replaceChildren(problemBox(problem));
    }
  }

  function buttons(name) {
    if (readOnlyReason() !== null || !machine.alive) return null;
    const press = (words, style, onclick) =>
      h("button", { type: "button", class: `button ${style}`, onclick, "aria-label": `${words}: ${name}` }, words);
    const pause = press(t("action.pause"), "", () => pauseMachine(machine));
    const resume = press(t("action.resume"), "primary", () => at_once(resumeMachine));
    const drain = press(t("action.drain"), "danger-line", () => drainMachine(machine));
    return h("div", { class: "actions" }, machine.paused ? resume : pause, drain);
  }

  return {
    element,
    show(seen) {
      machine = seen;
      const name = seen.report?.host ?? seen.identity;
      element.setAttribute("aria-label", name);
      setText(title, name);
      refresh(state_place, state("machine", machineState(seen)));
      refresh(body, numbers(seen));
      const focused = actions.contains(document.activeElement);
      rebuild(actions, JSON.stringify([name, seen.alive, seen.paused]), () => buttons(name));
      if (focused && !actions.contains(document.activeElement)) actions.querySelector("button")?.focus();
    },
  };
}

export function machines(root) {
  const reason = readOnlyReason();
  const cards = new Map(); // by identity
  const grid = h("div", { class: "machines" });
  const nothing = h("div", null, loading());
  root.append(h("h1", { tabindex: "-1" }, t("machines.title")));
  if (reason !== null) root.append(h("p", { class: "muted readonly" }, reason));
  root.append(nothing, grid);

  function update() {
    const seen = live.overview?.machines;
    if (seen === undefined) return;
    refresh(nothing, seen.length === 0 ? empty(t("machines.none")) : "");
    const gone = [...cards.keys()].filter(identity => !seen.some(machine => machine.identity === identity));
    for (const identity of gone) {
      cards.get(identity).element.remove();
      cards.delete(identity);
    }
    for (const machine of seen) {
      if (!cards.has(machine.identity)) {
        cards.set(machine.identity, card());
        grid.append(cards.get(machine.identity).element);
      }
      cards.get(machine.identity).show(machine);
    }
  }

  update();
  return { title: t("machines.title"), update, close() {} };
}
