// A table of any length whose document holds only the rows that the window shows.
import { h, morph } from "./dom.js";

const ROW_PX = 52; // app.css says the same
const AROUND = 10;

function spacer() {
  const cell = h("td"); // in the first column: one over all would give hidden columns their width back
  return {
    row: h("tr", { "aria-hidden": "true", class: "spacer" }, cell),
    set: height => (cell.style.height = `${height}px`),
  };
}

/*
 * The rows that the window shows. `item(index)` gives what row(item, index) draws, undefined while it is being asked
 * for: then blank(index) does. Each is ROW_PX high.
 */
export function windowed(body, { item, row: draw, blank }) {
  const above = spacer();
  const below = spacer();
  const rows = new Map(); // index -> { element, key }
  let total = 0;
  body.append(above.row, below.row);

  function change(index, key, made) {
    const old = rows.get(index);
    if (old) morph(old.element, made);
    rows.set(index, { element: old?.element ?? made, key });
  }

  function place(first, last) {
    let before = above.row;
    for (let index = first; index < last; index++) {
      const found = item(index);
      const key = found === undefined ? "" : JSON.stringify(found);
      if (rows.get(index)?.key !== key) change(index, key, found === undefined ? blank(index) : draw(found, index));
      const element = rows.get(index).element;
      if (before.nextSibling !== element) before.after(element);
      before = element;
    }
  }

  return {
    count(n) {
      total = n;
    },
    range() {
      const top = body.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(-top / ROW_PX) - AROUND);
      const last = Math.min(total, Math.ceil((innerHeight - top) / ROW_PX) + AROUND);
      return [Math.min(first, total), Math.max(last, Math.min(first, total))];
    },
    show() {
      const [first, last] = this.range();
      for (const [index, row] of rows) {
        if (index >= first && index < last) continue;
        row.element.remove();
        rows.delete(index);
      }
      above.set(first * ROW_PX);
      below.set((total - last) * ROW_PX);
      place(first, last);
    },
  };
}
