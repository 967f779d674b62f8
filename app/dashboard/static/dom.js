// Making and changing elements. Rule: text only ever as text, and nothing is written that already stands there.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "line", "circle", "text", "rect", "g"]);

export function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

export const $ = (id) => document.getElementById(id);

// Only what came, went or moved is touched: laying out hundreds of rows anew is to be felt.
export function arrange(list, items) {
  const stay = new Set(items);
  for (const item of [...list.children]) if (!stay.has(item)) item.remove();
  let at = list.firstElementChild;
  for (const item of items) {
    if (item === at) at = at.nextElementSibling;
    else list.insertBefore(item, at);
  }
}

export function write(element, text) {
  if (element.written === text) return false;
  element.written = text;
  element.textContent = text;
  return true;
}

export function attribute(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value == null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

// A tint that goes by itself, in a few steps (a smooth fade is painted 60 times a second, for all that is in view);
// without motion it stands for its time and is gone.
export function tint(element, since = 0, lasts = 2600) {
  element.tinted?.cancel();
  const easing = still.matches ? "steps(1, jump-end)" : "steps(7, jump-end)";
  element.tinted = element.animate([{backgroundColor: "var(--fresh)"}, {backgroundColor: "transparent"}], {duration: lasts, easing});
  element.tinted.currentTime = since;
}

export function untint(element) {
  element.tinted?.cancel();
  element.tinted = null;
}
