// The actions: who announces each, how it does, and a form to add a job.

import { go, to } from "./address.js";
import { get, isAdmin, known, mayAdd, newKey, post } from "./api.js";
import { ask, field } from "./dialog.js";
import { h } from "./dom.js";
import { ALL, confirmPauseOf, drawLimits, drawPauseOfAll, pauseButton, pausedWords } from "./rules.js";
import { table } from "./table.js";
import { count, json, span } from "./words.js";

export const actionsScreen = {
  title: () => "Actions",

  async load() {
    const [nodes, rate, pauses, limits] = await Promise.all([get("node"), known("rate"), known("pause"), known("limit")]);
    return { nodes: nodes.nodes, rate, pauses: pauses?.pauses, limits: limits?.limits };
  },

  take(data, name, value) {
    if (name === "nodes") data.nodes = value.nodes;
    return name === "nodes";
  },

  draw(data, page) {
    const found = announced(data.nodes);
    const rates = new Map((data.rate?.actions ?? []).map((one) => [one.action, one]));
    const pauses = new Map((data.pauses ?? []).map((one) => [one.action, one]));
    const unknown = [...pauses.keys()].filter((name) => name !== ALL && !found.has(name));
    const rows = [...found.values(), ...unknown.map((name) => ({ name, executors: [] }))].map((action) => ({
      key: action.name,
      cells: actionCells(action, rates.get(action.name), data.pauses && { pause: pauses.get(action.name), page }),
    }));
    return [
      h("div", { class: "head" }, h("h1", null, "Actions"), mayAdd() ? h("button", { class: "primary", onclick: () => addJob("", {}) }, "Add a job") : null,
        data.pauses && isAdmin() && !pauses.has(ALL) ? h("button", { onclick: () => confirmPauseOf(ALL, page) }, "Pause all") : null),
      pauses.has(ALL) ? drawPauseOfAll(pauses.get(ALL), page) : null,
      drawLeftOut(data.nodes),
      table("actions", ACTION_COLUMNS, rows, "No executor announces an action: start one."),
      data.limits ? drawLimits(data.limits, page) : null,
    ];
  },
};

const ACTION_COLUMNS = [
  { title: "Action" }, { title: "Executors", class: "name" }, { title: "Time limit", class: "number" }, { title: "Retries", class: "number" }, { title: "Runs in", class: "name" }, { title: "File", class: "wide" },
  { title: "Ended, last hour", class: "number" }, { title: "Success", class: "number" }, { title: "p50 · p95 · p99", class: "number" }, { title: "", class: "deeds" },
];

function drawLeftOut(nodes) {
  const left = nodes.flatMap((node) => Object.entries(node.leftOut ?? {}).map(([file, why]) => h("li", null, h("strong", null, node.name), ` left out ${file}: ${why}`)));
  return left.length ? h("section", { key: "left", class: "attention", "aria-label": "Files that were left out" }, h("ul", null, left)) : null;
}

// Return the actions by name, each with the executors that announce it and what they say of it.
function announced(nodes) {
  const found = new Map();
  for (const node of nodes.filter((node) => node.role === "executor")) {
    for (const name of node.actions ?? []) {
      const one = found.get(name) ?? { name, executors: [] };
      one.executors.push(node.name);
      one.schema ??= node.parameters?.[name];
      Object.assign(one, node.options?.[name]);
      found.set(name, one);
    }
  }
  return new Map([...found].sort(([one], [other]) => (one < other ? -1 : 1)));
}

function actionCells(action, rate, pausing) {
  const success = rate?.out ? `${Math.floor((100 * (rate.out - rate.failed)) / rate.out)} %` : "";
  const times = rate?.p50 === undefined ? "" : [rate.p50, rate.p95, rate.p99].map((seconds) => brief(seconds)).join(" · ");
  const pause = pausing?.pause;
  return [
    [h("a", { href: to("jobs", { action: action.name }) }, action.name), pause ? h("div", null, h("span", { class: "tag" }, "paused"), h("span", { class: "muted" }, ` ${pausedWords(pause)}`)) : null],
    action.executors.length ? executorWords(action.executors) : h("span", { class: "muted" }, "none"),
    action.timeout ? span(action.timeout) : "", action.retries ?? "", runsIn(action), fileName(action.file),
    rate ? count(rate.out) : "", success, times,
    [mayAdd() ? h("button", { onclick: () => addJob(action.name, example(action.schema)), "aria-label": `Add a job of ${action.name}` }, "Add a job") : null,
      pausing && isAdmin() ? pauseButton(action.name, pause, pausing.page) : null],
  ];
}

function executorWords(names) {
  return names.length > 3 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more` : names.join(", ");
}

// Return the last two parts of a path; the path is the title.
function fileName(path) {
  return path ? h("code", { title: path }, path.split("/").slice(-2).join("/")) : "";
}

// Return what an action runs in: nothing for a greenlet, which is usual.
function runsIn(action) {
  return action.isolation ? `a ${action.isolation}${action.memory ? `, ${Math.round(action.memory / (1 << 20))} MB` : ""}` : "";
}

const brief = (seconds) => (seconds < 10 ? `${Number(seconds.toPrecision(2))} s` : span(seconds));

// Return a payload with a value for each parameter that needs one.
function example(schema) {
  const empty = { string: "", integer: 0, number: 0, boolean: false, array: [], object: {} };
  const needed = schema?.required ?? [];
  return Object.fromEntries(needed.map((name) => [name, empty[schema.properties?.[name]?.type] ?? null]));
}

// --- a new job

function addJob(action, payload) {
  const idempotencyKey = newKey();
  const fields = [
    field("action", "Action", h("input", { value: action, required: true, autocomplete: "off", spellcheck: "false" })),
    field("payload", "Payload", h("textarea", { rows: 8, class: "code", spellcheck: "false" }, json(payload)), "a JSON object: the input of the action"),
    field("name", "Name", h("input", { autocomplete: "off" }), "for people; may be empty"),
    field("priority", "Priority", h("input", { type: "number", min: 0, max: 999, placeholder: 999 }), "0 to 999; lower runs first"),
  ];
  const run = async (values) => {
    const job = { action: values.action.trim(), payload: payloadOf(values.payload), idempotencyKey };
    if (values.name.trim()) job.name = values.name.trim();
    if (values.priority) job.priority = Number(values.priority);
    go(to((await post("job", job))["resource-id"]));
  };
  ask({ title: "Add a job", words: [], verb: "Add the job", fields, run });
}

function payloadOf(text) {
  try {
    const value = JSON.parse(text.trim() || "{}");
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
  } catch (error) {
    throw new Error(`Payload: ${error.message}`);
  }
  throw new Error("Payload: expected a JSON object, as {\"name\": \"value\"}");
}
