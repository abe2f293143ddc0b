// A part of a view, named by its heading: the message NAME.title.
import { h } from "./dom.js";
import { t } from "./i18n.js";

export function section(name, ...children) {
  const id = `${name}-title`;
  return h("section", { "aria-labelledby": id }, h("h2", { id }, t(`${name}.title`)), children);
}

export function card(name, ...children) {
  const made = section(name, ...children);
  made.className = "card";
  return made;
}
