// Tables, and lists of facts.

import { h } from "./dom.js";

// Return a table of something. `columns`: {title, class, content (in place of the title), sorted}; `rows`: {key, class, cells}.
export function table(name, columns, rows, empty) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const heads = columns.map((column) => h("th", { scope: "col", class: column.class, "aria-sort": column.sorted }, column.content ?? (column.title || h("span", { class: "unseen" }, "Buttons"))));
  const lines = rows.map((row) => h("tr", { key: row.key, class: row.class }, row.cells.map((cell, at) => h("td", { class: columns[at].class }, cell))));
  return h("div", { class: "scroll", role: "region", "aria-label": `Table of ${name}`, tabindex: "0" },
    h("table", null, h("thead", null, h("tr", null, heads)), h("tbody", null, lines)));
}

// Return a description list of [name, value] pairs; pairs without a value are left out.
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

// Return a titled part of a screen.
export function panel(title, ...children) {
  const id = `panel-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return h("section", { key: id, class: "panel", "aria-labelledby": id }, h("h2", { id }, title), children);
}

// Return a number with its name, for the head of a screen.
export function figure(name, value, note, href, kind) {
  const parts = [h("span", { class: "name" }, name), h("span", { class: "value" }, value), note ? h("span", { class: "note" }, note) : null];
  return href ? h("a", { key: name, class: `figure ${kind ?? ""}`, href }, parts) : h("div", { key: name, class: `figure ${kind ?? ""}` }, parts);
}
