// Audit: who changed what, from where.

import { go, to } from "./address.js";
import { quoted, search } from "./api.js";
import { field } from "./dialog.js";
import { h } from "./dom.js";
import { table } from "./table.js";
import { ago, count, counted, short } from "./words.js";

const EVENTS = 100;

export const auditScreen = {
  title: () => "Audit",
  drawsErrors: true,

  async load(page) {
    const asked = page.route.search;
    const first = Math.max(1, Number(asked.get("first")) || 1);
    const who = (asked.get("user") ?? "").trim();
    const filter = [who && `user=${quoted(who)}`, asked.get("filter") ?? ""].filter(Boolean);
    const found = await search("event", { filter, first, last: first + EVENTS - 1, orderby: "created:desc" });
    return { first, count: found.count, events: found.events };
  },

  draw(data, page) {
    const asked = page.route.search;
    const send = (event) => {
      event.preventDefault();
      const next = to("audit", Object.fromEntries(new FormData(event.target)));
      if (next === location.hash) page.reload();
      else go(next);
    };
    const input = (name, hint) => h("input", { value: asked.get(name) ?? "", autocomplete: "off", spellcheck: "false", placeholder: hint, class: name === "filter" ? "code" : null });
    return [
      h("div", { class: "head" }, h("h1", null, "Audit"), data ? h("span", { class: "muted" }, counted(data.count, "event")) : null),
      h("form", { key: "search", class: "search panel", role: "search", onsubmit: send },
        h("div", { class: "fields long" }, field("user", "User", input("user")), field("filter", "Filter", input("filter", "created>='now-1d'")), h("div", { class: "buttons" }, h("button", { class: "primary" }, "Search"))),
        h("p", { class: "trouble", role: "alert" }, page.error?.message ?? "")),
      data && !page.error ? drawEvents(data) : null,
    ];
  },
};

function drawEvents(data) {
  const columns = [{ title: "When", class: "when" }, { title: "User" }, { title: "Did" }, { title: "What" }, { title: "How many", class: "number" }, { title: "Detail", class: "wide" }, { title: "From" }];
  return table("events", columns, data.events.map((event) => ({ key: event.id, cells: eventCells(event) })), "No event matches.");
}

function eventCells(event) {
  const href = event.content?.resource?.href ?? "";
  const what = href.startsWith("job/") ? h("a", { href: to(href) }, short(href)) : href;
  return [ago(event.timestamp ?? event.created), event.user, event.content?.state ?? "", what, event.count === undefined ? "" : count(event.count), event.detail ?? "", event.client ?? ""];
}
