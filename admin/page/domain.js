// One domain: how its deliveries go, why, and what can be done about it.
import { get, LONG_WAIT_MS } from "./api.js";
import { auditTable } from "./audit.js";
import { h, rebuild, refresh } from "./dom.js";
import { duration, milliseconds, number, percent, time, UNKNOWN } from "./format.js";
import { parts, t } from "./i18n.js";
import { meant } from "./meant.js";
import { empty, loading, problemBox, say, toast } from "./notice.js";
import { dropDomain, limitDomain, pauseDomain, readOnlyReason, resumeDomain, tryDomain } from "./orders.js";
import { plots } from "./plots.js";
import { saying } from "./said.js";
import { section } from "./section.js";
import { state } from "./states.js";

const AGAIN_MS = 3000;
const ASKING_MS = 1000; // the machines answer within a second or two

function figure(name, value, note) {
  return h(
    "div",
    { class: "tile small" },
    h("h3", null, t(`figure.${name}`)),
    h("p", { class: "big" }, h("span", { class: "value" }, value)),
    note ? h("p", { class: "note" }, note) : null,
  );
}

function figures(domain) {
  const failed = domain.retried + domain.rejected + domain.exhausted;
  return [
    figure("delivered", number(domain.delivered), t("figure.delivered.note", { total: domain.total_delivered })),
    figure(
      "failed",
      number(failed),
      t("figure.failed.note", { retried: domain.retried, rejected: domain.rejected, exhausted: domain.exhausted }),
    ),
    figure(
      "success",
      percent(domain.success_rate),
      domain.consecutive_failures > 0 ? t("figure.success.note", { n: domain.consecutive_failures }) : "",
    ),
    figure(
      "latency",
      milliseconds(domain.p50_ms),
      t("figure.latency.note", { p95: milliseconds(domain.p95_ms), p99: milliseconds(domain.p99_ms) }),
    ),
  ];
}

function circuitWords(circuit) {
  return parts("circuit.words", {
    opened: time(circuit.opened_at),
    probe: time(circuit.probe_at),
    backoff: duration(circuit.backoff_s),
  });
}

function why(domain) {
  const said_by_machines = domain.verdict.code === "verdict.machines";
  return [
    said_by_machines ? null : h("p", { class: "strong" }, saying(domain.verdict)),
    domain.circuit ? h("p", { class: "strong" }, circuitWords(domain.circuit)) : null,
    domain.words.length === 0
      ? empty(t(domain.asking ? "why.asking" : "why.none"))
      : h(
          "ul",
          { class: "words" },
          domain.words.map(one =>
            h(
              "li",
              null,
              h("span", { class: "muted", title: one.machine }, `${one.machine.split(":")[0]}: `),
              saying(one),
            ),
          ),
        ),
  ];
}

function fact(name, ...words) {
  return h("div", null, h("dt", null, t(name)), h("dd", null, words));
}

function policyWords(policy) {
  const said = [];
  if (policy.paused) said.push(t("policy.paused"));
  if (policy.window) said.push(t("policy.window", { n: policy.window }));
  if (policy.rate) said.push(t("policy.rate", { n: policy.rate }));
  if (policy.proxy) said.push(t("policy.proxy", { proxy: policy.proxy }));
  if (policy.http === "2") said.push("HTTP/2");
  if (policy.signature !== "auto") said.push(t(`scheme.${policy.signature}`));
  if (policy.exempt) said.push(t("policy.exempt"));
  if (policy.drop_before) said.push(t("policy.drop"));
  const ends = [
    ["policy.until", policy.until],
    ["policy.limits_until", policy.limits_until],
  ].filter(([, at]) => at);
  return [
    h("span", { class: "strong" }, policy.name),
    ": ",
    said.join(", "),
    ends.map(([key, at]) => [" · ", ...parts(key, { time: time(at) })]),
  ];
}

function mastodonWords(mastodon) {
  if (!mastodon) return UNKNOWN;
  if (mastodon.unavailable) return t("mastodon.unavailable");
  return mastodon.failing_days ? t("mastodon.failing", { n: mastodon.failing_days }) : t("mastodon.good");
}

function schemeOf(domain) {
  const ordered = domain.policy_detail?.signature ?? "auto";
  return ordered !== "auto" ? ordered : (domain.scheme ?? "unknown");
}

function facts(domain) {
  return h(
    "dl",
    { class: "facts" },
    fact("domain.lastsuccess", time(domain.last_success_at)),
    fact("domain.failing", time(domain.failing_since)),
    fact("domain.scheme", t(`scheme.${schemeOf(domain)}`)),
    fact("domain.mastodon", mastodonWords(domain.mastodon)),
    fact("domain.followers", number(domain.followers)),
    fact("domain.policy", domain.policy_detail ? policyWords(domain.policy_detail) : t("policy.none")),
  );
}

function scrolled(label, columns, rows) {
  return h(
    "div",
    { class: "scrolled", tabindex: "0", role: "group", "aria-label": label },
    h(
      "table",
      { class: "plain" },
      h("caption", { class: "unseen" }, label),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          columns.map(([key, numeric]) => h("th", { scope: "col", class: numeric ? "figure" : null }, t(key))),
        ),
      ),
      h("tbody", null, rows),
    ),
  );
}

function errors(list) {
  if (list.length === 0) return empty(t("errors.none"));
  return scrolled(
    t("errors.title"),
    [["errors.error"], ["errors.status", true], ["errors.count", true], ["errors.first"], ["errors.last"]],
    list.map(one =>
      h(
        "tr",
        null,
        h("th", { scope: "row", class: "long" }, one.error),
        h("td", { class: "figure" }, one.status ?? UNKNOWN),
        h("td", { class: "figure" }, number(one.count)),
        h("td", null, time(one.first_at)),
        h("td", null, time(one.last_at)),
      ),
    ),
  );
}

function inboxes(domain) {
  if (domain.inboxes.length === 0) return empty(t("inboxes.none"));
  return [
    domain.inboxes_total > domain.inboxes.length
      ? h("p", { class: "muted" }, t("inboxes.cut", { n: domain.inboxes.length, total: domain.inboxes_total }))
      : null,
    scrolled(
      t("inboxes.title"),
      [
        ["inboxes.inbox"],
        ["inboxes.delivered", true],
        ["inboxes.failed", true],
        ["inboxes.mean", true],
        ["inboxes.status", true],
        ["inboxes.last"],
        ["inboxes.since"],
      ],
      domain.inboxes.map(one =>
        h(
          "tr",
          null,
          h(
            "th",
            { scope: "row", class: "long" },
            one.inbox,
            one.last_error ? h("span", { class: "under" }, one.last_error) : null,
          ),
          h("td", { class: "figure" }, number(one.delivered)),
          h("td", { class: "figure" }, number(one.retried + one.rejected + one.exhausted)),
          h("td", { class: "figure" }, milliseconds(one.mean_ms)),
          h("td", { class: "figure" }, one.last_status ?? UNKNOWN),
          h("td", null, time(one.last_success_at)),
          h("td", null, time(one.failing_since)),
        ),
      ),
    ),
  ];
}

// The dead jobs by class, among the others.
const jobsOf = host => `#/jobs?domain=${encodeURIComponent(host)}`;

// Its time, and why it isn't the one that the job stands at; without a time, only why.
function nextWords(found) {
  const why = found.next_due_says.map(saying);
  if (found.next_due_at === null && why.length > 0) return why;
  return [time(found.next_due_at), why.map(said => [" · ", said])];
}

/* What waits is counted when somebody asks: it reads the queues. */
function waitingSection(host) {
  const count = () => get(`domains/${encodeURIComponent(host)}/waiting`, { wait_ms: LONG_WAIT_MS });
  const result = h("div", { class: "counted", "aria-live": "polite" });
  async function show() {
    result.replaceChildren(loading(t("waiting.counting")));
    try {
      const found = await count();
      result.replaceChildren(
        h(
          "dl",
          { class: "facts" },
          Object.entries(found.places).map(([place, n]) =>
            h("div", null, h("dt", null, t(`place.${place}`)), h("dd", null, number(n))),
          ),
          fact("waiting.next", ...nextWords(found)),
          found.handoff > 0 ? fact("place.handoff", number(found.handoff)) : null,
          fact("place.dead", found.dead === 0 ? number(0) : h("a", { href: jobsOf(host) }, number(found.dead))),
        ),
        ...meant(found).flat(),
        found.cut ? h("p", { class: "muted" }, t("waiting.cut")) : "",
      );
    } catch (problem) {
      result.replaceChildren(problemBox(problem, show));
    }
  }
  return {
    count,
    element: h(
      "div",
      null,
      h("button", { type: "button", class: "button", onclick: show }, t("waiting.count")),
      result,
    ),
  };
}

function button(words, onclick, style = "") {
  return h("button", { type: "button", class: `button ${style}`, onclick }, words);
}

// ---- the view ----

// The page with its empty places; what is read fills them.
function frame(root, host, waiting) {
  const names = ["badge", "trouble", "refusal", "actions", "figures", "why", "facts", "plots", "errors", "inboxes"];
  const places = Object.fromEntries([...names, "audit"].map(name => [name, h("div")]));
  places.figures.className = "tiles four";
  places.why.className = "card why";
  places.content = h(
    "div",
    { hidden: true },
    places.actions,
    section("figures", places.figures),
    h("div", { class: "halves" }, section("why", places.why), section("about", places.facts)),
    places.plots,
    section("errors", places.errors),
    section("inboxes", places.inboxes),
    section("waiting", waiting.element),
    section("audit", places.audit),
  );
  places.trouble.append(loading());
  root.append(
    h("p", { class: "crumb" }, h("a", { href: "#/domains" }, t("domains.title"))),
    h("div", { class: "title-row start" }, h("h1", { tabindex: "-1", class: "host" }, host), places.badge),
    places.trouble,
    places.refusal,
    places.content,
  );
  return places;
}

function fill(places, seen, buildActions) {
  const focused = places.actions.contains(document.activeElement);
  rebuild(places.actions, JSON.stringify(seen.policy_detail), () => buildActions(seen));
  if (focused && !places.actions.contains(document.activeElement)) places.actions.querySelector("button")?.focus();
  refresh(places.badge, state("domain", seen.state));
  refresh(places.figures, figures(seen));
  refresh(places.facts, facts(seen));
  refresh(places.why, why(seen));
  refresh(places.errors, errors(seen.errors));
  refresh(places.inboxes, inboxes(seen));
  refresh(places.audit, auditTable(seen.audit, false));
  places.content.hidden = false;
}

function actions(seen, waiting, load, at_once) {
  const host = seen.host;
  const reason = readOnlyReason();
  if (reason !== null) return h("p", { class: "muted readonly" }, reason);
  return h(
    "div",
    { class: "actions" },
    seen.policy_detail?.paused
      ? button(t("action.resume"), () => at_once(() => resumeDomain(seen.policy_detail)), "primary")
      : button(t("action.pause"), () => pauseDomain(host, load)),
    button(t("action.limit"), () => limitDomain(host, seen.policy_detail, load)),
    button(t("action.try"), () => at_once(() => tryDomain(host))),
    button(t("action.drop"), () => dropDomain(host, waiting.count, load), "danger-line"),
  );
}

function problemWords(problem, host, again) {
  return problem.status === 400 ? empty(t("domain.unknown", { host })) : problemBox(problem, again);
}

export function domain(root, route) {
  const host = route.name;
  const waiting = waitingSection(host);
  const places = frame(root, host, waiting);
  let drawn = null;
  let timer = 0;
  let closed = false;
  let state_before = null;

  async function at_once(act) {
    places.refusal.replaceChildren();
    try {
      toast(...(await act()));
    } catch (problem) {
      places.refusal.replaceChildren(problemBox(problem));
    }
    load();
  }

  function show(seen) {
    const known = seen.total_delivered > 0 || seen.inboxes_total > 0 || seen.policy_detail !== null;
    places.trouble.replaceChildren(known ? "" : empty(t("domain.unknown", { host })));
    fill(places, seen, () => actions(seen, waiting, load, at_once));
    if (state_before !== null && state_before !== seen.state)
      say("state", t("domain.became", { host, state: t(`domain.state.${seen.state}`) }));
    state_before = seen.state;
    if (drawn !== null) return;
    drawn = plots(host);
    places.plots.append(drawn.element);
  }

  async function load(poll = false) {
    clearTimeout(timer);
    let wait_ms = AGAIN_MS;
    try {
      const seen = await get(`domains/${encodeURIComponent(host)}`, { poll });
      if (seen.asking && !poll) wait_ms = ASKING_MS;
      if (!closed) show(seen);
    } catch (problem) {
      if (!closed) places.trouble.replaceChildren(problemWords(problem, host, () => load()));
    }
    clearTimeout(timer);
    if (!closed) timer = setTimeout(load, wait_ms, true);
  }

  load();
  return {
    title: host,
    close() {
      closed = true;
      clearTimeout(timer);
      drawn?.close();
    },
  };
}
