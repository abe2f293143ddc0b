// States in words, colour and shape at once: no state is told by its colour alone.
import { h, icon } from "./dom.js";
import { t } from "./i18n.js";

export const DOMAIN_STATES = ["healthy", "failing", "open", "paused", "limited", "unavailable", "idle"];

const SHAPES = {
  healthy: "circle",
  failing: "triangle",
  open: "square",
  paused: "pause",
  limited: "diamond",
  unavailable: "cross",
  idle: "ring",
  running: "circle",
  starting: "ring",
  quiet: "ring",
  fenced: "square",
  draining: "diamond",
  dead: "cross",
  suspicious: "triangle",
  read: "ring",
  act: "circle",
};

const TONES = {
  healthy: "good",
  running: "good",
  act: "good",
  failing: "warn",
  suspicious: "warn",
  open: "bad",
  fenced: "bad",
  dead: "bad",
  paused: "held",
  limited: "note",
  draining: "note",
  unavailable: "off",
  idle: "off",
  starting: "off",
  quiet: "off",
  read: "off",
};

// `kind` is "domain", "machine" or "right"; a state of a newer server is shown as it is named.
export function state(kind, name) {
  const known = name in SHAPES;
  return h(
    "span",
    { class: `state tone-${TONES[name] ?? "off"}`, "data-state": name },
    icon(SHAPES[name] ?? "ring"),
    h("span", null, known ? t(`${kind}.state.${name}`) : name),
  );
}

export function tone(name) {
  return TONES[name] ?? "off";
}

export function shape(name) {
  return icon(SHAPES[name] ?? "ring");
}

// What is said of one machine in one word: the worst of what is true.
export function machineState(machine) {
  if (!machine.alive) return "dead";
  if (machine.report?.suspicious) return "suspicious";
  if (machine.report === null) return machine.paused ? "paused" : "starting";
  if (machine.paused && machine.report.state === "running") return "paused";
  return machine.report.state;
}
