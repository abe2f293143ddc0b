// The hosts that a domain means to an order, and so what is counted for it.
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { saying } from "./said.js";

const SHOWN = 20;

function name(host) {
  return host.startsWith("*.") ? t("meant.below", { host: host.slice(2) }) : host;
}

export function meant(waiting) {
  const rest = waiting.hosts.length - SHOWN;
  return [
    h("p", null, t("meant.hosts")),
    h(
      "ul",
      { class: "words" },
      waiting.hosts.slice(0, SHOWN).map(host => h("li", { class: "long" }, name(host))),
      rest > 0 ? h("li", null, t("meant.more", { n: rest })) : null,
    ),
    waiting.hosts_problem.map(said => h("p", { class: "warning" }, saying(said))),
  ];
}
