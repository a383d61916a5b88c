// Elements. Data becomes text nodes and attributes only, never markup.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "onsubmit", "onchange", "oninput", "onkeydown", "ontoggle"];

// Return an element. Properties: handlers (onclick), `key` (identity among its siblings), else attributes; a false or
// null attribute is left out. Children: elements, texts, numbers, lists of these; null and false are left out.
export function h(tag, properties, ...children) {
  return filled(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (HANDLERS.includes(name)) element[name] = value;
    else if (name === "key") element.key = value;
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat(Infinity).filter(isShown).map(asNode));
  return element;
}

function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(child);
}

// Make the children of an element equal to these with few changes: what the user has focused, typed, selected or
// opened stays.
export function paint(element, ...children) {
  const fresh = filled(document.createDocumentFragment(), null, children);
  mendChildren(element, [...fresh.childNodes]);
}

function mendChildren(old, fresh) {
  const keyed = new Map([...old.childNodes].filter((node) => node.key).map((node) => [node.key, node]));
  let place = old.firstChild;
  for (const node of fresh) {
    const match = node.key ? keyed.get(node.key) : isAlike(place, node) ? place : null;
    if (!match) {
      old.insertBefore(node, place);
      continue;
    }
    keyed.delete(node.key);
    if (match === place) place = place.nextSibling;
    else old.insertBefore(match, place);
    mend(match, node);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function isAlike(old, fresh) {
  return old && !old.key && old.nodeName === fresh.nodeName && old.id === fresh.id;
}

function mend(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const name of HANDLERS) if (old[name] !== fresh[name]) old[name] = fresh[name];
  mendAttributes(old, fresh);
  if (old.nodeName !== "TEXTAREA") mendChildren(old, [...fresh.childNodes]);
}

// An attribute changes where what is drawn has changed, so that an input keeps what the user types.
function mendAttributes(old, fresh) {
  for (const name of old.getAttributeNames()) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const name of fresh.getAttributeNames()) {
    const value = fresh.getAttribute(name);
    if (old.getAttribute(name) === value) continue;
    old.setAttribute(name, value);
    if (name === "value") old.value = value;
  }
  if (old.type === "checkbox") old.checked = fresh.hasAttribute("checked");
  if (old.nodeName === "SELECT" && old !== document.activeElement) queueMicrotask(() => selectMarked(old));
}

function selectMarked(select) {
  const marked = [...select.options].findIndex((option) => option.hasAttribute("selected"));
  if (marked >= 0) select.selectedIndex = marked;
}
