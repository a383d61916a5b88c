// The rules by which jobs wait: pauses of actions, and limits.

import { to } from "./address.js";
import { isAdmin, post, put, remove } from "./api.js";
import { ask, field } from "./dialog.js";
import { h } from "./dom.js";
import { panel, table } from "./table.js";
import { age, count, span } from "./words.js";

// The name under which all actions are paused.
export const ALL = "*";

export function pausedWords(pause) {
  return `by ${pause.by} ${age(pause.since)}${pause.until ? `, ends ${age(pause.until)}` : ""}${pause.why ? `: ${pause.why}` : ""}`;
}

export function pauseButton(name, pause, page) {
  const title = pause ? "Resume" : "Pause";
  const confirm = pause ? confirmResumeOf : confirmPauseOf;
  return h("button", { onclick: () => confirm(name, page), "aria-label": `${title} ${name}` }, title);
}

export function drawPauseOfAll(pause, page) {
  return h("section", { key: "paused", class: "attention", "aria-label": "Pause of all actions" },
    `All actions are paused ${pausedWords(pause)}. `, isAdmin() ? h("button", { onclick: () => confirmResumeOf(ALL, page) }, "Resume all") : null);
}

const actionWords = (name) => (name === ALL ? "all actions" : name);

export function confirmPauseOf(name, page) {
  const fields = [
    field("why", "Why", h("input", { autocomplete: "off" }), "for others to see; may be empty"),
    field("until", "Until", h("input", { autocomplete: "off", placeholder: "+2h" }), "a date, or +15m, +2h, +3d; empty: until somebody resumes"),
  ];
  const run = async (values) => {
    await post("pause", { action: name, ...filledIn(values) });
    page.reload();
  };
  ask({ title: `Pause ${actionWords(name)}?`, words: "Jobs wait; what runs goes on.", verb: `Pause ${actionWords(name)}`, fields, run });
}

function confirmResumeOf(name, page) {
  const run = async () => {
    await remove(`pause/${encodeURIComponent(name)}`);
    page.reload();
  };
  ask({ title: `Resume ${actionWords(name)}?`, words: "Jobs that wait go into the queue again, at their places.", verb: `Resume ${actionWords(name)}`, run });
}

// Return the fields of a form that are not empty.
function filledIn(values) {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
}

export function drawLimits(limits, page) {
  const columns = [{ title: "Limit" }, { title: "Action" }, { title: "For each", class: "wide" }, { title: "Running", class: "number" }, { title: "Starts", class: "number" }, { title: "", class: "deeds" }];
  const rows = limits.map((one) => ({ key: one.id, cells: [
    [h("strong", null, one.name), one.description ? h("div", { class: "muted" }, one.description) : null], one.action, one.per ? h("code", null, one.per) : "",
    one.running === undefined ? "" : count(one.running), one.starts === undefined ? "" : `${count(one.starts)} in ${span(one.each)}`,
    [h("a", { class: "button", href: to("jobs", { filter: `held/on^='limit/${one.name}.${one.epoch}|'` }) }, "Show what waits"), isAdmin() ? limitButtons(one, page) : null],
  ] }));
  return panel("Limits", isAdmin() ? h("p", null, h("button", { onclick: () => editLimit({}, page) }, "Set a limit")) : null, table("limits", columns, rows, "There is no limit."));
}

function limitButtons(limit, page) {
  const run = async () => {
    await remove(limit.id);
    page.reload();
  };
  const confirm = () => ask({ title: `Delete the limit ${limit.name}?`, words: "Jobs that wait for it go on.", verb: `Delete ${limit.name}`, danger: true, run });
  return [h("button", { onclick: () => editLimit(limit, page) }, "Change"), h("button", { class: "danger", onclick: confirm }, "Delete")];
}

function editLimit(limit, page) {
  const text = (name, label, hint) => field(name, label, h("input", { value: limit[name] ?? "", autocomplete: "off", spellcheck: "false", readonly: name === "name" && Boolean(limit.name) }), hint);
  const fields = [
    text("name", "Name"), text("action", "Action"), text("per", "For each", "a path, as payload.account or targetResource; empty: one limit for all jobs"),
    text("running", "Running", "so many jobs run at once"), text("starts", "Starts", "so many jobs start in the seconds below"), text("each", "Seconds"),
  ];
  const run = async (values) => {
    const { name, ...rest } = filledIn(values);
    const numbers = ["running", "starts", "each"].filter((key) => key in rest).map((key) => [key, Number(rest[key])]);
    await put(`limit/${encodeURIComponent(name ?? "")}`, { ...rest, ...Object.fromEntries(numbers) });
    page.reload();
  };
  ask({ title: limit.name ? `Change the limit ${limit.name}` : "Set a limit", words: "A job that comes under a limit waits for its turn.", verb: "Set the limit", fields, run });
}
