// Elements. Text from data only ever becomes a text node: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `class`, `data-*`, `aria-*` and other attributes, `on*` listeners, properties with a dot. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) set(element, name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function set(element, name, value) {
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name.startsWith(".")) element[name.slice(1)] = value;
  else attribute(element, name, value);
}

/** Sets an attribute, or takes it away where the value is null, undefined or false. */
export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Changes text only where it differs, so that a screen reader is not told the same again. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
  return element;
}

/** Makes `parent` hold one element per item, in order; `make(item)` once per key, `update` each time. */
export function reconcile(parent, items, { key, make, update }) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = known.get(name);
    known.delete(name);
    if (!element) {
      element = make(item);
      element.dataset.key = name;
    }
    update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const element of known.values()) element.remove();
}

/** A row of buttons of which one is pressed. */
export function choice(label, options, value, pick) {
  const box = h("div", { class: "choice", role: "group", "aria-label": label });
  const press = (chosen) => {
    for (const button of box.children) attribute(button, "aria-pressed", String(button.dataset.value === String(chosen)));
  };
  for (const [name, word] of options) {
    box.append(h("button", { type: "button", "data-value": name, onclick: () => { press(name); pick(name); } }, word));
  }
  press(value);
  box.press = press;
  return box;
}

export function empty(name, title, hint) {
  return h("div", { class: "empty" }, icon(name), h("strong", {}, title), h("p", { class: "small" }, hint));
}
