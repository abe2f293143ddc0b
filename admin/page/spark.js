// What the last minutes looked like, beside a number: no axis, no table; the number says it.
import { svg } from "./dom.js";
export const POINTS = 90;
const FEWEST = 8;

export function sparkline() {
  const line = svg("polyline", { class: "spark-line" });
  const element = svg(
    "svg",
    { viewBox: "0 0 100 24", preserveAspectRatio: "none", class: "spark", "aria-hidden": "true" },
    line,
  );
  return {
    element,
    show(values) {
      if (values.length < FEWEST) return;
      const most = Math.max(...values, 1e-9);
      line.setAttribute(
        "points",
        values
          .map((one, at) => `${((at / (values.length - 1)) * 100).toFixed(2)},${(22 - (one / most) * 20).toFixed(2)}`)
          .join(" "),
      );
    },
  };
}
