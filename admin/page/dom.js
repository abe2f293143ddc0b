// Elements. Text from strangers enters the page here and only as text nodes: nothing parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function nodes(children) {
  return [children].flat(Infinity).filter(child => child !== null && child !== undefined && child !== false);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...nodes(children));
  return element;
}

// h("p", { class: "note", onclick: f }, "text", element, [more])
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Changes the document only where the text differs, so that a selection in it survives.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Builds again only when `key` is another than the last time: for what has buttons.
const keys = new WeakMap();
export function rebuild(element, key, build) {
  if (keys.get(element) === key) return;
  keys.set(element, key);
  element.replaceChildren(...nodes(build()));
}

function morphAttributes(old, made) {
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of made.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

function morphChildren(old, made) {
  const before = [...old.childNodes];
  made.forEach((child, at) => (at < before.length ? morph(before[at], child) : old.append(child)));
  before.slice(made.length).forEach(child => child.remove());
}

/*
 * Makes `old` look like `made`, and keeps each element that may stay: what somebody is pressing, has selected or
 * scrolled isn't taken away. Listeners stay those of `old`.
 */
export function morph(old, made) {
  if (old.isEqualNode(made)) return;
  if (old.nodeType !== Node.ELEMENT_NODE || old.nodeName !== made.nodeName) {
    old.replaceWith(made);
    return;
  }
  morphAttributes(old, made);
  morphChildren(old, [...made.childNodes]);
}

// The same for all that is in an element.
export function refresh(element, ...children) {
  morphChildren(
    element,
    nodes(children).map(child => (child instanceof Node ? child : document.createTextNode(child))),
  );
}

const icons = {
  circle: () => svg("circle", { cx: 8, cy: 8, r: 5.5 }),
  ring: () => svg("circle", { cx: 8, cy: 8, r: 4.5, class: "hollow" }),
  triangle: () => svg("path", { d: "M8 1.8 14.8 13.6H1.2Z" }),
  square: () => svg("rect", { x: 2.5, y: 2.5, width: 11, height: 11, rx: 1 }),
  diamond: () => svg("path", { d: "M8 1 15 8 8 15 1 8Z" }),
  pause: () => svg("path", { d: "M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z" }),
  cross: () => svg("path", { d: "M3.5 3.5l9 9M12.5 3.5l-9 9", class: "hollow thick" }),
};

export function icon(name) {
  return svg("svg", { viewBox: "0 0 16 16", class: "shape", "aria-hidden": "true", focusable: "false" }, icons[name]());
}
