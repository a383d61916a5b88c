// The jobs: a search that the address holds, and what can be done with the jobs that it finds.

import { go, to } from "./address.js";
import { isAdmin, mayAdd, mayChange, newKey, post, quoted, remove, search } from "./api.js";
import { ask, field } from "./dialog.js";
import { h } from "./dom.js";
import { table } from "./table.js";
import { STATES, ago, count, counted, short, span, standing } from "./words.js";

const PAGE_SIZE = 50;
const SHOWN = "id,state,action,name,progress,created,updated,duration,statusMessage,held,executor,attempts,priority,targetResource";
const SINCE = [["", "Any time"], ["now-15m", "Last 15 minutes"], ["now-1h", "Last hour"], ["now-24h", "Last 24 hours"], ["now-7d", "Last 7 days"]];
const AT_ONCE = 4;
export const VERBS = {
  stop: { title: "Stop", done: "stopped", each: (id) => post(`${id}/stop`), bulk: "bulk-stop", note: "Jobs that have ended stay as they are." },
  rerun: { title: "Rerun", done: "added again", each: (id) => post(`${id}/rerun`), bulk: "bulk-rerun", note: "Each job that has ended is added again as a new job." },
  release: { title: "Release", done: "released", each: (id) => post(`${id}/release`), bulk: "bulk-release", note: "Jobs that are held run now; others stay as they are." },
  delete: { title: "Delete", done: "deleted", each: (id) => remove(id), bulk: "bulk-delete", note: "Jobs that run are ended. Deleted jobs cannot be had back.", danger: true },
};

export const jobsScreen = {
  title: () => "Jobs",
  drawsErrors: true,

  async load(page) {
    const asked = page.route.search;
    const first = Math.max(1, Number(asked.get("first")) || 1);
    page.memory.trouble = null;
    const found = await search("job", { filter: conditions(asked), first, last: first + PAGE_SIZE - 1, orderby: asked.get("sort") || "created:desc", select: SHOWN });
    return { first, count: found.count, jobs: found.jobs };
  },

  take(data, name, value) {
    if (name !== "jobs") return false;
    const news = new Map(value.jobs.map((job) => [job.id, job]));
    const touched = data.jobs.filter((job) => news.has(job.id));
    for (const job of touched) {
      if (!news.get(job.id).held) delete job.held;
      Object.assign(job, news.get(job.id));
    }
    return touched.length > 0;
  },

  draw(data, page) {
    page.memory.chosen ??= new Set();
    return [
      h("div", { class: "head" }, h("h1", null, "Jobs"), data ? h("span", { class: "muted" }, counted(data.count, "job")) : null),
      drawSearch(page),
      page.error ? null : drawVerbs(data, page),
      page.error ? null : drawJobs(data, page),
      page.error ? null : drawPages(data, page),
    ];
  },
};

// Return the filters of a search, one for each field. Throws an Error in words, with its `field`, for a text that no
// filter can hold.
export function conditions(asked) {
  const given = (name) => (asked.get(name) ?? "").trim();
  const condition = (name, comparison) => {
    try {
      return given(name) && comparison + quoted(given(name));
    } catch (error) {
      throw Object.assign(error, { field: name });
    }
  };
  const states = asked.getAll("state").filter((state) => STATES.includes(state));
  return [
    states.map((state) => `state='${state}'`).join(" or "),
    condition("action", "action="),
    condition("tag", "tags="),
    condition("target", "targetResource/href^="),
    condition("text", "fulltext=="),
    condition("since", "created>="),
    given("filter"),
  ].filter(Boolean);
}

// --- the search

function drawSearch(page) {
  const asked = page.route.search;
  const send = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    page.memory.chosen.clear();
    const next = jobsAddress(asked, { ...Object.fromEntries(form), first: "" });
    if (next === location.hash) page.reload();
    else go(next);
  };
  const trouble = page.error?.message;
  const wrong = page.error ? (page.error.field ?? "filter") : null;
  const input = (name, hint, kind) => h("input", { value: asked.get(name) ?? "", autocomplete: "off", spellcheck: "false", placeholder: hint, class: kind, "aria-invalid": name === wrong ? "true" : null });
  const text = (name, label, hint) => field(name, label, input(name, hint));
  const since = asked.get("since") ?? "";
  const options = SINCE.some(([value]) => value === since) ? SINCE : [...SINCE, [since, since]];
  return h("form", { key: "search", class: "search panel", onsubmit: send, role: "search" },
    drawStates(page),
    h("div", { class: "fields" },
      text("text", "Text", "words of name, message, tags"), text("action", "Action"), text("tag", "Tag"), text("target", "Target", "cloud/ab"),
      field("since", "Added", h("select", null, options.map(([value, words]) => h("option", { value, selected: value === since }, words))))),
    h("div", { class: "fields long" },
      field("filter", "Filter", input("filter", "priority<100 and attempts>1", "code")),
      h("div", { class: "buttons" }, h("button", { class: "primary" }, "Search"), h("a", { class: "button", href: to("jobs") }, "Clear"))),
    h("p", { class: "trouble", role: "alert" }, trouble ?? ""));
}

function drawStates(page) {
  const asked = page.route.search;
  const chosen = asked.getAll("state");
  return h("div", { class: "chips", role: "group", "aria-label": "State" }, STATES.map((state) => {
    const isOn = chosen.includes(state);
    const next = isOn ? chosen.filter((each) => each !== state) : [...chosen, state];
    return h("a", { class: `chip state ${state.toLowerCase()}`, href: jobsAddress(asked, { state: next, first: "" }), "aria-current": isOn ? "true" : null }, state);
  }));
}

// Return the address of the search with some parameters changed; empty ones are left out.
function jobsAddress(asked, changes) {
  const next = new URLSearchParams(asked);
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const each of [value].flat()) if (String(each).trim()) next.append(name, String(each).trim());
  }
  const query = next.toString();
  return `#/jobs${query ? `?${query}` : ""}`;
}

// --- the table

function drawJobs(data, page) {
  const chosen = page.memory.chosen;
  const sort = page.route.search.get("sort") || "created:desc";
  const sorted = (title, name, kind) => {
    const isUp = sort === name;
    const isDown = sort === `${name}:desc`;
    const href = jobsAddress(page.route.search, { sort: isDown ? name : `${name}:desc`, first: "" });
    return { class: kind, sorted: isUp ? "ascending" : isDown ? "descending" : null, content: h("a", { href }, title, isUp ? " ▲" : isDown ? " ▼" : "") };
  };
  const all = data.jobs.length > 0 && data.jobs.every((job) => chosen.has(job.id));
  const tick = h("input", { type: "checkbox", "aria-label": "Select all jobs of this page", checked: all, onchange: () => choosePage(data, page, !all) });
  const columns = [
    { class: "tick", content: tick }, sorted("State", "state", "when"), sorted("Action", "action", "name"), { title: "Job", class: "name" }, { title: "Message", class: "wide" },
    sorted("Added", "created", "when"), sorted("Took", "duration", "number"), { title: "Attempts", class: "number" }, { title: "Executor", class: "name" }, sorted("Priority", "priority", "number"),
  ];
  const rows = data.jobs.map((job) => ({ key: job.id, class: chosen.has(job.id) ? "chosen" : null, cells: jobCells(job, page) }));
  return table("jobs", columns, rows, "No job matches.");
}

function jobCells(job, page) {
  const chosen = page.memory.chosen;
  const toggle = () => {
    if (!chosen.delete(job.id)) chosen.add(job.id);
    page.memory.isAll = false;
    page.repaint();
  };
  const tick = h("input", { type: "checkbox", "aria-label": `Select ${job.name ?? job.action} ${short(job.id)}`, checked: chosen.has(job.id), onchange: toggle });
  const name = [h("a", { href: to(job.id) }, job.name ?? short(job.id)), job.targetResource ? h("span", { class: "muted" }, ` ${job.targetResource.href}`) : null];
  return [tick, standing(job), job.action, name, job.statusMessage ?? "", ago(job.created), span(job.duration), job.attempts ?? "", job.executor ?? "", job.priority ?? ""];
}

function choosePage(data, page, isOn) {
  for (const job of data.jobs) isOn ? page.memory.chosen.add(job.id) : page.memory.chosen.delete(job.id);
  page.memory.isAll = false;
  page.repaint();
}

function drawPages(data, page) {
  const last = data.first + data.jobs.length - 1;
  if (data.count <= PAGE_SIZE && data.first === 1) return null;
  const link = (first, words, isShown) => (isShown ? h("a", { class: "button", href: jobsAddress(page.route.search, { first: first > 1 ? first : "" }) }, words) : null);
  return h("nav", { key: "pages", class: "pages", "aria-label": "Pages" },
    link(1, "First", data.first > 1), link(Math.max(1, data.first - PAGE_SIZE), "Previous", data.first > 1),
    h("span", { class: "muted" }, `${count(data.first)} to ${count(Math.max(last, 0))} of ${count(data.count)}`),
    link(data.first + PAGE_SIZE, "Next", last < data.count));
}

// --- what can be done

function drawVerbs(data, page) {
  const { chosen } = page.memory;
  const number = page.memory.isAll ? data.count : chosen.size;
  const mayTouch = data.jobs.some(mayChange);
  const names = [...(mayTouch ? ["stop", "release"] : []), ...(mayAdd() ? ["rerun"] : []), ...(mayTouch && (isAdmin() || !page.memory.isAll) ? ["delete"] : [])];
  if (!names.length) return null;
  const isPage = data.jobs.length > 0 && data.jobs.every((job) => chosen.has(job.id));
  const choose = (isAll) => {
    page.memory.isAll = isAll;
    page.repaint();
  };
  return h("div", { key: "verbs", class: "verbs", role: "toolbar", "aria-label": "Selected jobs" },
    names.map((name) => h("button", { class: VERBS[name].danger ? "danger" : null, disabled: !number, onclick: () => confirmVerb(name, data, page) }, VERBS[name].title)),
    h("span", { class: "muted" }, number ? `${counted(number, "job")} selected` : "Select jobs"),
    isPage && data.count > data.jobs.length ? h("button", { class: "link", onclick: () => choose(!page.memory.isAll) }, page.memory.isAll ? "Only this page" : `Select all ${count(data.count)} that match`) : null);
}

function confirmVerb(name, data, page) {
  const verb = VERBS[name];
  const ids = page.memory.isAll ? null : [...page.memory.chosen];
  const jobs = counted(ids ? ids.length : data.count, "job");
  const filter = [...conditions(page.route.search), `created<=${new Date().toISOString()}`].map((each) => `(${each})`).join(" and ");
  ask({
    title: `${verb.title} ${jobs}?`,
    words: verb.note,
    verb: `${verb.title} ${jobs}`,
    danger: verb.danger,
    run: async (_, tell) => {
      const done = ids ? await doEach(verb, ids, tell) : await doAll(verb, filter, data.count, tell);
      page.memory.chosen.clear();
      page.memory.isAll = false;
      page.say(done);
      page.reload();
    },
  });
}

// Do something with each of these jobs, a few at once; return in words what came of it.
export async function doEach(verb, ids, tell) {
  const left = [...ids];
  const refused = [];
  let done = 0;
  const work = async () => {
    for (let id = left.shift(); id; id = left.shift()) {
      try {
        await verb.each(id);
        done += 1;
      } catch (error) {
        refused.push(error.message);
      }
      if (!tell(`${count(done)} of ${count(ids.length)}`)) left.length = 0;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (!done && refused.length) throw new Error(refused[0]);
  return `${counted(done, "job")} ${verb.done}${refused.length ? `, ${count(refused.length)} refused: ${refused[0]}` : ""}.`;
}

// Do something with all jobs that match, as far as each request gets; return in words what came of it.
export async function doAll(verb, filter, number, tell) {
  const idempotencyKey = verb.bulk === "bulk-rerun" ? newKey() : undefined;
  let done = 0;
  let last = "";
  for (let goesOn = true; goesOn; ) {
    const rest = last ? `(${filter}) and id>'${last}'` : filter;
    const answer = await post(`job/${verb.bulk}`, { filter: rest, idempotencyKey });
    last = answer.last ?? "";
    const some = answer.stopped ?? answer.released ?? answer.reran ?? answer.deleted ?? 0;
    done += some;
    goesOn = tell(`${count(done)} of ${count(number)}`) && (verb.bulk === "bulk-delete" ? some > 0 : answer.more);
  }
  return `${counted(done, "job")} ${verb.done}.`;
}
