// The overview: what is being delivered, how well, and whether anything needs a hand.
import { h, icon, refresh, setText } from "./dom.js";
import { bytes, duration, number, percent, rate, time, UNKNOWN } from "./format.js";
import { t, parts } from "./i18n.js";
import { live, onLive } from "./live.js";
import { empty, say } from "./notice.js";
import { pauseEverything, readOnlyReason } from "./orders.js";
import { plots } from "./plots.js";
import { saying, words } from "./said.js";
import { section } from "./section.js";
import { POINTS, sparkline } from "./spark.js";
import { machineState, state } from "./states.js";

// The last minutes of each number, also of those while another view was open.
const trail = { rate: [], queue: [], flight: [], success: [], circuits: [] };

function remember(name, value) {
  trail[name].push(value ?? 0);
  if (trail[name].length > POINTS) trail[name].shift();
}

let remembered_at = 0;
onLive(({ overview: seen }) => {
  if (seen === null || seen.at === remembered_at) return;
  remembered_at = seen.at;
  remember("rate", seen.recent.per_second);
  remember("queue", sum(seen.queues, "length"));
  remember("flight", seen.in_flight);
  remember("success", seen.recent.success_rate);
  remember("circuits", seen.open_circuits);
});

function tile(name) {
  const value = h("span", { class: "value" }, UNKNOWN);
  const unit = h("span", { class: "unit" });
  const note = h("p", { class: "note" });
  const spark = sparkline();
  return {
    element: h(
      "div",
      { class: "tile" },
      h("h3", null, t(`tile.${name}`)),
      h("p", { class: "big" }, value, unit),
      note,
      spark.element,
    ),
    show(words, unit_words, note_words) {
      setText(value, words);
      setText(unit, unit_words);
      setText(note, note_words);
      spark.show(trail[name]);
    },
  };
}

function sum(list, key) {
  return list.reduce((all, one) => all + (one[key] ?? 0), 0);
}

function oldest(queues) {
  const ages = queues
    .filter(queue => queue.length > 0)
    .map(queue => queue.oldest_age_s)
    .filter(age => age !== null && age !== undefined);
  return ages.length === 0 ? null : Math.max(...ages);
}

function showTiles(tiles, seen) {
  const recent = seen.recent;
  const waiting = sum(seen.queues, "length");
  const age = oldest(seen.queues);
  const slots = seen.machines.reduce((all, machine) => all + (machine.report?.slots ?? 0), 0);
  const failed = recent.retried + recent.rejected + recent.exhausted;
  tiles.rate.show(rate(recent.per_second), t("tile.rate.unit"), t("tile.rate.note", { n: recent.delivered }));
  tiles.queue.show(
    number(waiting),
    "",
    age === null ? t("tile.queue.none") : t("tile.queue.note", { age: duration(age) }),
  );
  tiles.flight.show(number(seen.in_flight), "", t("tile.flight.note", { slots }));
  tiles.success.show(
    percent(recent.success_rate),
    "",
    failed === 0 ? t("tile.success.all") : t("tile.success.note", { n: failed }),
  );
  tiles.circuits.show(
    number(seen.open_circuits),
    "",
    seen.open_circuits === 0 ? t("tile.circuits.none") : t("tile.circuits.note"),
  );
}

function alerts(seen) {
  if (seen.alerts.length === 0 && seen.suspicious.length === 0)
    return h("p", { class: "calm" }, state("domain", "healthy").firstChild, t("alerts.none"));
  return h(
    "ul",
    { class: "alerts" },
    seen.suspicious.map(host => h("li", null, icon("triangle"), h("span", null, t("alerts.suspicious", { host })))),
    seen.alerts.map(alert =>
      h(
        "li",
        null,
        icon("triangle"),
        h(
          "span",
          null,
          saying(alert),
          " ",
          h("span", { class: "muted" }, parts("alerts.since", { time: time(alert.since) })),
        ),
      ),
    ),
  );
}

function machines(seen) {
  if (seen.machines.length === 0) return empty(t("machines.none"));
  return h(
    "div",
    { class: "scrolled", tabindex: "0", role: "group", "aria-label": t("machines.title") },
    h(
      "table",
      { class: "plain wide" },
      h("caption", { class: "unseen" }, t("machines.title")),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          ["host", "state", "version", "flight", "held", "load", "circuits", "lag"].map((name, at) =>
            h("th", { scope: "col", class: at > 2 ? "figure" : null }, t(`machine.${name}`)),
          ),
        ),
      ),
      h(
        "tbody",
        null,
        seen.machines.map(machine => {
          const report = machine.report;
          return h(
            "tr",
            null,
            h("th", { scope: "row" }, h("a", { href: "#/machines" }, report?.host ?? machine.identity)),
            h("td", null, state("machine", machineState(machine))),
            h("td", null, report?.version ?? UNKNOWN),
            h("td", { class: "figure" }, report ? `${number(report.in_flight)} / ${number(report.slots)}` : UNKNOWN),
            h("td", { class: "figure" }, number(machine.held)),
            h(
              "td",
              { class: "figure" },
              report?.cpu === null || !report ? UNKNOWN : t("machine.cores", { n: number(report.cpu, 2) }),
            ),
            h("td", { class: "figure" }, number(report?.open_circuits)),
            h("td", { class: "figure" }, report ? t("machine.ms", { n: report.lag_ms }) : UNKNOWN),
          );
        }),
      ),
    ),
  );
}

function fact(name, ...words) {
  return h("div", null, h("dt", null, t(name)), h("dd", null, words));
}

function queueWords(queue) {
  const note = queue.consumers === undefined || queue.consumers > 0 ? "" : ` (${t("facts.noconsumer")})`;
  return h("span", { class: "nowrap" }, `${queue.name ?? queue.queue} ${number(queue.length)}${note}`);
}

function facts(seen) {
  const join = list => list.flatMap((one, at) => (at === 0 ? [one] : [" · ", one]));
  return h(
    "dl",
    { class: "facts" },
    fact("facts.queues", join(seen.queues.map(queueWords))),
    fact(
      "facts.later",
      t("facts.later.words", { retry: seen.later.retry, schedule: seen.later.schedule, dead: seen.later.dead }),
    ),
    fact("facts.handoff", seen.handoff.length === 0 ? UNKNOWN : join(seen.handoff.map(queueWords))),
    fact(
      "facts.held",
      number(seen.held),
      seen.held_by_dead > 0 ? ` (${t("facts.dead", { n: seen.held_by_dead })})` : "",
    ),
    fact(
      "facts.ledger",
      t("facts.ledger.words", { claimed: seen.ledger.claimed, missing: seen.ledger.missing }),
      " ",
      state("ledger", seen.ledger.missing === 0 ? "healthy" : "open"),
    ),
    fact(
      "facts.redis",
      `${seen.redis.version} · ${bytes(seen.redis.used_bytes)}`,
      seen.redis.max_bytes ? ` / ${bytes(seen.redis.max_bytes)}` : "",
      seen.redis.policy ? ` · ${seen.redis.policy}` : "",
    ),
    fact(
      "facts.versions",
      `fedpush ${seen.version} · Mastodon ${seen.mastodon ?? UNKNOWN} · Sidekiq ${seen.sidekiq ?? UNKNOWN}`,
    ),
  );
}

function stopButton() {
  return h("button", { type: "button", class: "button stop", onclick: pauseEverything }, icon("pause"), t("pause.all"));
}

// Alerts are spoken when they change.
function alertSpeaker() {
  let before = null;
  return list => {
    const ids = list.map(alert => alert.id).join();
    const text = list.map(words).join(" ");
    if (before !== null && ids !== before)
      say("alerts", list.length === 0 ? t("alerts.over") : t("alerts.spoken", { n: list.length, text }));
    before = ids;
  };
}

export function overview(root) {
  const tiles = Object.fromEntries(Object.keys(trail).map(name => [name, tile(name)]));
  const tile_row = h("div", { class: "tiles" });
  const [alert_place, machine_place, fact_place] = [h("div"), h("div"), h("div")];
  const drawn = plots(null);
  const reason = readOnlyReason();
  const stop = reason === null ? stopButton() : h("p", { class: "muted readonly" }, reason);
  const speak = alertSpeaker();
  tile_row.append(...Object.values(tiles).map(one => one.element));
  root.append(
    h("div", { class: "title-row" }, h("h1", { tabindex: "-1" }, t("overview.title")), stop),
    h(
      "section",
      { "aria-labelledby": "now-title" },
      h("h2", { id: "now-title", class: "unseen" }, t("overview.now")),
      tile_row,
    ),
    section("alerts", alert_place),
    drawn.element,
    section("machines", machine_place),
    section("facts", fact_place),
  );

  function update() {
    const seen = live.overview;
    if (seen === null) return;
    stop.hidden = reason === null && seen.paused !== null;
    showTiles(tiles, seen);
    refresh(alert_place, alerts(seen));
    refresh(machine_place, machines(seen));
    refresh(fact_place, facts(seen));
    speak(seen.alerts);
  }

  update();
  return { title: t("overview.title"), update, close: drawn.close };
}
