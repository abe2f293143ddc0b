// How the page looks to this browser; sessions and API tokens.
import { get, mayAct, post, session } from "./api.js";
import { ask, checkbox, field, select } from "./dialog.js";
import { h } from "./dom.js";
import { time, UNKNOWN, wantsAbsolute } from "./format.js";
import { language, LANGUAGES, t } from "./i18n.js";
import { empty, loading, problemBox, toast } from "./notice.js";
import { readOnlyReason } from "./orders.js";
import { card } from "./section.js";
import { state } from "./states.js";
import { chooseTheme, theme } from "./look.js";

function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is forbidden: nothing to keep it in.
  }
}

function display(onlanguage) {
  const words = select(Object.entries(LANGUAGES), language);
  words.addEventListener("change", () => onlanguage(words.value));
  const look = select(
    ["system", "light", "dark"].map(name => [name, t(`theme.${name}`)]),
    theme(),
  );
  look.addEventListener("change", () => chooseTheme(look.value));
  const times = select(
    [
      ["relative", t("times.relative")],
      ["absolute", t("times.absolute")],
    ],
    wantsAbsolute() ? "absolute" : "relative",
  );
  times.addEventListener("change", () => keep("fedpush.times", times.value));
  return h(
    "div",
    { class: "fields" },
    field(t("settings.language"), words),
    field(t("settings.theme"), look),
    field(t("settings.times"), times),
  );
}

function newToken(again) {
  const name = h("input", {
    type: "text",
    maxlength: "63",
    pattern: "[A-Za-z0-9._\\-]+",
    autocomplete: "off",
    spellcheck: "false",
  });
  const full = checkbox(t("tokens.full"), t("tokens.full.hint"));
  ask({
    title: t("tokens.new.title"),
    body: [field(t("tokens.name"), name, t("tokens.name.hint")), full.row],
    label: t("tokens.create"),
    ready: () => name.value !== "" && name.validity.valid,
    act: async () => {
      const made = await post("tokens", { name: name.value, full: full.control.checked });
      again(made);
      return [t("tokens.created", { name: name.value })];
    },
  });
}

function revoke(token, again) {
  ask({
    title: t("tokens.revoke.title", { name: token.name }),
    body: h("p", null, t("tokens.revoke.what")),
    label: t("tokens.revoke"),
    danger: true,
    act: async () => {
      await post(`tokens/${encodeURIComponent(token.name)}`, undefined, "DELETE");
      again();
      return [t("tokens.revoked", { name: token.name })];
    },
  });
}

function tokenTable(items, again) {
  if (items.length === 0) return empty(t("tokens.none"));
  return h(
    "div",
    { class: "scrolled", tabindex: "0", role: "group", "aria-label": t("tokens.title") },
    h(
      "table",
      { class: "plain" },
      h("caption", { class: "unseen" }, t("tokens.title")),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          ["name", "right", "created_at", "made_by"].map(name => h("th", { scope: "col" }, t(`tokens.${name}`))),
          h("th", { scope: "col" }, h("span", { class: "unseen" }, t("tokens.revoke"))),
        ),
      ),
      h(
        "tbody",
        null,
        items.map(token =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, token.name),
            h("td", null, state("right", token.right)),
            h("td", null, time(token.created_at)),
            h("td", null, token.made_by ?? UNKNOWN),
            h(
              "td",
              { class: "end" },
              h(
                "button",
                {
                  type: "button",
                  class: "button danger-line",
                  "aria-label": `${t("tokens.revoke")}: ${token.name}`,
                  onclick: () => revoke(token, again),
                },
                t("tokens.revoke"),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

function shownOnce(made) {
  const value = h("input", {
    type: "text",
    readonly: true,
    value: made.token,
    class: "secret",
    onfocus: event => event.target.select(),
  });
  return h("div", { class: "once" }, field(t("tokens.once"), value, t("tokens.once.hint")));
}

function tokens() {
  const list = h("div", null, loading());
  const fresh = h("div", { "aria-live": "polite" });
  async function load(made) {
    if (made?.token) fresh.replaceChildren(shownOnce(made));
    try {
      list.replaceChildren(tokenTable((await get("tokens")).items, () => load()));
    } catch (problem) {
      list.replaceChildren(problemBox(problem, () => load()));
    }
  }
  load();
  return [
    h("p", null, t("tokens.what")),
    fresh,
    list,
    h("p", null, h("button", { type: "button", class: "button", onclick: () => newToken(load) }, t("tokens.new"))),
  ];
}

async function signOut(everywhere) {
  await post("logout", { everywhere });
  dispatchEvent(new Event("fedpush:signed-out"));
}

function signedIn() {
  const out = everywhere => async () => {
    try {
      await signOut(everywhere);
    } catch (problem) {
      toast(problem.message);
    }
  };
  return [
    h("p", null, t("sessions.who", { who: session.me.who }), " ", state("right", session.me.right)),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "button", onclick: out(false) }, t("sessions.out")),
      h("button", { type: "button", class: "button danger-line", onclick: out(true) }, t("sessions.everywhere")),
    ),
  ];
}

export function settings(root, route, onlanguage) {
  const reason = readOnlyReason();
  root.append(
    h("h1", { tabindex: "-1" }, t("settings.title")),
    h(
      "div",
      { class: "stack" },
      card("display", display(onlanguage)),
      card("sessions", session.me.login === "none" ? h("p", null, reason) : signedIn()),
      card("tokens", mayAct() ? tokens() : h("p", { class: "muted" }, reason)),
      card("licence", h("p", null, t("licence.what"), " ", h("a", { href: "uPlot.txt" }, "uPlot"))),
    ),
  );
  return { title: t("settings.title"), close() {} };
}
