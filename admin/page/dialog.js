// Questions before something happens.
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { problemBox, toast } from "./notice.js";

let number = 0;

export function field(label, control, hint) {
  const id = `field-${++number}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    control,
    hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null,
  );
}

export function checkbox(label, hint) {
  const id = `field-${++number}`;
  const control = h("input", { type: "checkbox", id, "aria-describedby": hint ? `${id}-hint` : null });
  const row = h(
    "div",
    { class: "field check" },
    control,
    h("label", { for: id }, label),
    hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null,
  );
  return { control, row };
}

export function select(options, chosen) {
  return h(
    "select",
    null,
    options.map(([value, words]) => h("option", { value, selected: value === chosen }, words)),
  );
}

const SPANS_S = [
  ["900", "minute", 15],
  ["3600", "hour", 1],
  ["21600", "hour", 6],
  ["86400", "hour", 24],
  ["604800", "day", 7],
];

// How long an order holds; its value is seconds, or "" for until somebody ends it.
export function spanSelect(chosen = "", open = t("span.open")) {
  return select([...SPANS_S.map(([value, unit, n]) => [value, t(`span.${unit}`, { n })]), ["", open]], chosen);
}

export function spanOf(control) {
  return control.value === "" ? null : Number(control.value);
}

/*
 * Asks, does, and tells what was done. `act` runs while the dialog is open: what it throws is shown there,
 * and [words, lines] that it gives are the notice. `ready` says whether the button may be pressed.
 */
export function ask({ title, body, label, danger, ready, act }) {
  const id = `dialog-${++number}`;
  const problems = h("div");
  const confirm = h("button", { type: "submit", class: danger ? "button danger" : "button primary" }, label);
  const cancel = h("button", { type: "button", class: "button", onclick: () => dialog.close() }, t("dialog.cancel"));
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id }, title),
    body,
    problems,
    h("div", { class: "actions end" }, cancel, confirm),
  );
  const dialog = h("dialog", { "aria-labelledby": id, class: "dialog" }, form);
  const check = () => (confirm.disabled = ready ? !ready() : false);
  form.addEventListener("input", check);
  form.addEventListener("submit", async event => {
    event.preventDefault();
    if (confirm.disabled) return;
    confirm.disabled = true;
    problems.replaceChildren();
    try {
      const done = await act();
      dialog.close();
      toast(...done);
    } catch (problem) {
      problems.replaceChildren(problemBox(problem));
      check();
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  check();
  dialog.showModal();
  return dialog;
}
