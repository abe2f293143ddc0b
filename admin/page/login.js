// The way in.
import { loadMe, post, session, url } from "./api.js";
import { field } from "./dialog.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { problemBox } from "./notice.js";

function passwordForm(onsigned) {
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  // Password managers want to know whose password it is.
  const user = h("input", {
    type: "text",
    name: "username",
    autocomplete: "username",
    value: "admin",
    hidden: true,
    readonly: true,
  });
  const trouble = h("div");
  const press = h("button", { type: "submit", class: "button primary wide" }, t("login.enter"));
  return h(
    "form",
    {
      onsubmit: async event => {
        event.preventDefault();
        press.disabled = true;
        trouble.replaceChildren();
        try {
          await post("login", { password: password.value });
          await loadMe();
          onsigned();
        } catch (problem) {
          trouble.replaceChildren(problemBox(problem.status === 401 ? { title: t("login.wrong") } : problem));
          password.select();
        }
        press.disabled = false;
      },
    },
    user,
    field(t("login.password"), password),
    trouble,
    press,
  );
}

// What became of a sign-in with Mastodon, in the address that it came back to.
function returned() {
  const why = new URLSearchParams(location.search).get("login");
  if (why === null) return null;
  history.replaceState(null, "", location.pathname + location.hash);
  return problemBox({ title: t("login.failed"), detail: t(why === "denied" ? "login.denied" : "login.failed.detail") });
}

// `login` names the ways in: "password", "oauth", or both ("password oauth").
export function login(root, onsigned) {
  const ways = session.me.login;
  root.append(
    h(
      "div",
      { class: "login card" },
      h("h1", { tabindex: "-1" }, t("login.title")),
      h("p", { class: "muted" }, t("login.what")),
      returned(),
      ways.includes("password") ? passwordForm(onsigned) : null,
      ways.includes("password") && ways.includes("oauth") ? h("p", { class: "or" }, t("login.or")) : null,
      ways.includes("oauth")
        ? h("p", null, h("a", { class: "button wide", href: url("login/mastodon").pathname }, t("login.mastodon")))
        : null,
    ),
  );
  root.querySelector("input[type=password]")?.focus();
  return { title: t("login.title"), close() {} };
}
