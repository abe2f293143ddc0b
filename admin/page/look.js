// Light, dark, or as the system has it; theme.js decides before the first paint.

const system = matchMedia("(prefers-color-scheme: dark)");
let chosen = "system";
try {
  chosen = localStorage.getItem("fedpush.theme") ?? "system";
} catch {
  // Storage is forbidden: a choice holds until the page is closed.
}

function apply() {
  document.documentElement.dataset.theme = chosen === "system" ? (system.matches ? "dark" : "light") : chosen;
  dispatchEvent(new Event("fedpush:theme"));
}

export function theme() {
  return chosen;
}

export function chooseTheme(name) {
  chosen = name;
  try {
    if (name === "system") localStorage.removeItem("fedpush.theme");
    else localStorage.setItem("fedpush.theme", name);
  } catch {
    // As above.
  }
  apply();
}

// What the switch in the head goes to: the other of what is seen now.
export function otherTheme() {
  return document.documentElement.dataset.theme === "dark" ? "light" : "dark";
}

system.addEventListener("change", apply);
