// The frame around the views: navigation, who is signed in, the connection, the pause of everything.
import { loadMe, mayAct, session } from "./api.js";
import { audit } from "./audit.js";
import { domain } from "./domain.js";
import { domains } from "./domains.js";
import { h, icon, rebuild, setText } from "./dom.js";
import { duration, refreshTimes, time } from "./format.js";
import { chooseLanguage, language, LANGUAGES, loadLanguage, parts, preferred, t } from "./i18n.js";
import { jobs } from "./jobs.js";
import { live, onLive, startLive, stopLive } from "./live.js";
import { login } from "./login.js";
import { chooseTheme, otherTheme } from "./look.js";
import { machines } from "./machines.js";
import { loading, problemBox, say, toast } from "./notice.js";
import { resumeEverything } from "./orders.js";
import { overview } from "./overview.js";
import { person } from "./said.js";
import { settings } from "./settings.js";

const VIEWS = { "": overview, domains, domain, machines, jobs, audit, settings };
const TABS = [
  ["", "overview"],
  ["domains", "domains"],
  ["machines", "machines"],
  ["jobs", "jobs"],
  ["audit", "audit"],
  ["settings", "settings"],
];
const TICK_MS = 1000;

let frame = null;
let view = null;
const scrolled = new Map(); // hash -> scrollY, for the way back

function routeOf(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [first, second] = path.split("/");
  const route = { view: first, tab: first, name: null, query: new URLSearchParams(query ?? "") };
  if (first === "domains" && second) {
    route.view = "domain";
    try {
      route.name = decodeURIComponent(second);
    } catch {
      route.view = "domains";
    }
  }
  return route.view in VIEWS ? route : { view: "", tab: "", name: null, query: route.query };
}

// ---- the frame ----

function languageSwitch() {
  const other = Object.keys(LANGUAGES).find(tag => tag !== language);
  return h(
    "button",
    { type: "button", class: "plain-button", lang: other, onclick: () => changeLanguage(other) },
    LANGUAGES[other],
  );
}

function themeSwitch() {
  return h("button", { type: "button", class: "plain-button", onclick: () => chooseTheme(otherTheme()) });
}

function showTheme() {
  setText(frame.theme, t(`theme.to.${otherTheme()}`));
}

function buildFrame() {
  const main = h("main", { id: "main", tabindex: "-1" });
  const connection = h("p", { class: "connection" }, h("span", { class: "dot" }), h("span", { class: "words" }));
  const where = h("span", { class: "where" });
  const banner = h("div", { class: "banners" });
  const theme = themeSwitch();
  const links = TABS.map(([path, name]) => h("a", { href: `#/${path}`, "data-tab": path }, t(`${name}.title`)));
  const nav = h("nav", { "aria-label": t("nav.label") }, links);
  const skip = h(
    "a",
    {
      href: "#main",
      class: "skip",
      onclick: event => {
        event.preventDefault();
        (main.querySelector("h1") ?? main).focus();
      },
    },
    t("nav.skip"),
  );
  document
    .getElementById("page")
    .replaceChildren(
      skip,
      h(
        "header",
        { class: "top" },
        h(
          "div",
          { class: "brand-row" },
          h(
            "a",
            { href: "#/", class: "brand" },
            h("img", { src: "icon.svg", alt: "", width: "26", height: "26" }),
            h("span", null, "fedpush"),
          ),
          where,
          h("div", { class: "tools" }, connection, languageSwitch(), theme),
        ),
        nav,
      ),
      banner,
      main,
      h("section", { id: "toasts", class: "toasts", "aria-label": t("notices") }),
    );
  frame = { main, connection, where, banner, links, nav, theme };
  showTheme();
}

// ---- what the frame says ----

function showConnection() {
  const age_s = (performance.now() - live.received_ms) / 1000;
  const lost = live.status === "lost";
  frame.connection.dataset.status = live.status;
  setText(
    frame.connection.lastChild,
    !lost
      ? t(`live.${live.status}`)
      : live.overview === null
        ? t("live.lost")
        : t("live.lost.age", { age: duration(age_s) }),
  );
}

function pauseBanner(paused) {
  const trouble = h("div");
  const resume = h(
    "button",
    {
      type: "button",
      class: "button",
      onclick: async () => {
        resume.disabled = true;
        try {
          toast(...(await resumeEverything()));
        } catch (problem) {
          trouble.replaceChildren(problemBox(problem));
          resume.disabled = false;
        }
      },
    },
    t("paused.resume"),
  );
  const who = paused.by ? ` ${t("paused.by", { who: person(paused.by) })}` : "";
  const until = paused.until ? [" ", ...parts("paused.until", { time: time(paused.until) })] : [];
  return h(
    "section",
    { class: "banner", "aria-label": t("paused.title") },
    icon("pause"),
    h("div", null, h("p", null, h("strong", null, t("paused.title")), who, until), trouble),
    mayAct() ? resume : null,
  );
}

function showFrame() {
  showConnection();
  const seen = live.overview;
  if (seen === null) return;
  setText(frame.where, seen.domain ?? "");
  rebuild(frame.banner, JSON.stringify(seen.paused), () => (seen.paused === null ? [] : pauseBanner(seen.paused)));
}

// ---- views ----

function markTab(tab) {
  for (const link of frame.links) {
    if (link.dataset.tab === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function showTitle() {
  const title = [view.title, "fedpush", live.overview?.domain].filter(Boolean).join(" · ");
  if (document.title !== title) document.title = title;
}

function needsLogin() {
  return session.me.right === null || session.me.right === undefined;
}

function show(focus) {
  view?.close();
  view = null;
  frame.main.replaceChildren();
  if (needsLogin()) {
    stopLive();
    frame.nav.hidden = true;
    frame.connection.hidden = true;
    frame.banner.replaceChildren();
    view = login(frame.main, enter);
    showTitle();
    return;
  }
  frame.nav.hidden = false;
  frame.connection.hidden = false;
  const route = routeOf(location.hash);
  route.scroll = scrolled.get(location.hash) ?? 0;
  markTab(route.tab);
  view = VIEWS[route.view](frame.main, route, changeLanguage);
  showTitle();
  if (focus) {
    scrollTo(0, 0);
    frame.main.querySelector("h1")?.focus({ preventScroll: true });
  }
}

function enter() {
  startLive();
  showFrame();
  show(true);
}

async function changeLanguage(tag) {
  await chooseLanguage(tag);
  buildFrame();
  showFrame();
  show(true);
}

async function signedOut() {
  if (session.me === null || needsLogin()) return;
  try {
    await loadMe();
  } catch {
    return; // the connection is what is wrong
  }
  if (needsLogin()) show(false);
}

async function start() {
  await loadLanguage(preferred());
  buildFrame();
  frame.main.append(loading());
  frame.connection.hidden = true;
  try {
    await loadMe();
  } catch (problem) {
    frame.main.replaceChildren(problemBox(problem, start));
    return;
  }
  if (needsLogin()) show(false);
  else {
    startLive();
    showFrame();
    show(false);
  }
}

onLive(() => {
  showFrame();
  view?.update?.();
  if (view !== null) showTitle();
});
let spoken = "connecting";
onLive(({ status }) => {
  if (status === spoken) return;
  if (status === "lost" || spoken === "lost") say("connection", t(`live.${status}`));
  spoken = status;
});
addEventListener("hashchange", () => {
  if (session.me !== null && !needsLogin()) show(true);
});
addEventListener("scroll", () => scrolled.set(location.hash, scrollY), { passive: true });
addEventListener("fedpush:signed-out", signedOut);
addEventListener("fedpush:theme", () => frame !== null && showTheme());
setInterval(() => {
  refreshTimes();
  if (frame !== null && live.status === "lost") showConnection();
}, TICK_MS);
history.scrollRestoration = "manual";
start();
