// The fleet: executors, distributors, schedules, servers, and the queue.

import { to } from "./address.js";
import { get, isAdmin, newKey, post, search } from "./api.js";
import { ask, field } from "./dialog.js";
import { h } from "./dom.js";
import { panel, table } from "./table.js";
import { age, ago, count, counted, moment, short, span } from "./words.js";

const RUNNING = 200;

export const fleetScreen = {
  title: () => "Fleet",

  async load() {
    const running = { filter: "state='RUNNING' or state='STOPPING'", last: RUNNING, orderby: "started", select: "id,action,name,executor,started,progress" };
    const [nodes, queue, distributors, schedules, jobs] = await Promise.all([get("node"), get("queue"), get("distributor"), search("schedule", { orderby: "name", last: 500 }), search("job", running)]);
    return { nodes: nodes.nodes, queue, distributors: distributors.distributors, schedules: schedules.schedules, running: jobs.jobs };
  },

  take(data, name, value) {
    if (name === "nodes") data.nodes = value.nodes;
    if (name === "queue") Object.assign(data.queue, value);
    return name === "queue" || name === "nodes";
  },

  draw(data, page) {
    return [
      h("h1", null, "Fleet"),
      drawExecutors(data, page),
      drawQueue(data.queue),
      drawSchedules(data.schedules, page),
      drawDistributors(data.distributors, page),
      drawServers(data.nodes),
    ];
  },
};

// --- executors

function drawExecutors(data, page) {
  const executors = data.nodes.filter((node) => node.role === "executor");
  const columns = [{ title: "Executor", class: "name" }, { title: "Slots in use", class: "number" }, { title: "Runs", class: "wide" }, { title: "Up", class: "when" }, { title: "Lag", class: "number" }, { title: "Version" }, { title: "Host", class: "name" }, { title: "", class: "deeds" }];
  const rows = executors.map((node) => ({
    key: node.name,
    cells: [
      [h("strong", null, node.name), drawQuiet(node.quiet), node.away ? h("div", { class: "trouble" }, node.away) : null],
      [`${count(node.running ?? 0)} of ${count(node.slots ?? 0)} `, h("meter", { min: 0, max: node.slots || 1, value: node.running ?? 0, "aria-label": "Slots in use" })],
      drawRunning(data.running.filter((job) => job.executor === node.name)),
      ago(node.since), drawLag(node.lag), node.version, `${node.host} (${node.pid})`,
      isAdmin() ? drawExecutorDeeds(node, page) : null,
    ],
  }));
  return panel("Executors", table("executors", columns, rows, "No executor is alive: jobs wait until one starts."));
}

// Draw how late the event loop was lately: from 0.1 s on the executor announces the step that the lag has reached.
function drawLag(lag) {
  const words = lag ? `${lag} s or more` : "under 0.1 s";
  return h("span", { class: lag >= 1 ? "trouble" : "muted", title: "the longest time for which the event loop did not run, of the last 10 seconds" }, words);
}

function drawQuiet(quiet) {
  return quiet ? h("div", null, h("span", { class: "tag" }, quiet.state), quiet.why ? h("span", { class: "muted" }, ` ${quiet.why}`) : null) : null;
}

function drawRunning(jobs) {
  if (!jobs.length) return h("span", { class: "muted" }, "nothing");
  const line = (job) => h("li", { key: job.id }, h("a", { href: to(job.id) }, job.name ?? job.action), h("span", { class: "muted" }, ` ${short(job.id)} for ${age(job.started).replace(" ago", "")}`));
  return [
    h("ul", { class: "runs" }, jobs.slice(0, 5).map(line)),
    jobs.length > 5 ? h("details", null, h("summary", null, `${jobs.length - 5} more`), h("ul", { class: "runs" }, jobs.slice(5).map(line))) : null,
  ];
}

const ORDERS = {
  quiet: { title: "Quiet", words: "The executor takes no more jobs; what runs goes on." },
  resume: { title: "Resume", words: "The executor takes jobs again." },
  stop: { title: "Stop", words: "The executor takes no more jobs, and its process ends once its jobs have ended.", danger: true },
};

function drawExecutorDeeds(node, page) {
  const confirm = ({ title, words, danger }, verb) => {
    const run = async ({ why }) => {
      await post(`executor/${encodeURIComponent(node.name)}/${verb}`, why?.trim() ? { why: why.trim() } : {});
      page.say(`The order is on its way to ${node.name}.`);
      page.reload();
    };
    ask({ title: `${title} ${node.name}?`, words, verb: `${title} ${node.name}`, danger, fields: verb === "resume" ? [] : whyField(), run });
  };
  const verbs = node.quiet?.state === "draining" ? [] : [node.quiet ? "resume" : "quiet", "stop"];
  return verbs.map((verb) => h("button", { onclick: () => confirm(ORDERS[verb], verb) }, ORDERS[verb].title));
}

const whyField = () => [field("why", "Why", h("input", { autocomplete: "off" }), "for others to see; may be empty")];

// --- the queue

function drawQueue(queue) {
  const columns = [{ title: "Job" }, { title: "Priority", class: "number" }, { title: "Taken by", class: "wide" }, { title: "Entry" }];
  const rows = (queue.head ?? []).map((one) => ({ key: one.entry, cells: [h("a", { href: to(one.job) }, short(one.job)), one.priority, one.takenBy ?? h("span", { class: "muted" }, "nobody"), h("code", null, one.entry.split("/").pop())] }));
  const oldest = queue.oldest ? `, the oldest for ${span(queue.oldest)}` : "";
  const numbers = queue.numbers >= 0.5 ? ` ${Math.round(100 * queue.numbers)} % of the sequence numbers are used.` : "";
  return panel("Queue", h("p", null, `${count(queue.entries)} in the queue${oldest}; ${count(queue.taken)} taken.${numbers}`), rows.length ? table("the head of the queue", columns, rows, "") : null);
}

// --- schedules and distributors

function rhythm(one) {
  if (one.cron) return `${one.cron}${one.timezone ? ` (${one.timezone})` : ""}`;
  const seconds = one.every ?? one.interval;
  return seconds ? `each ${span(seconds)}` : "";
}

const fact = (date, missing) => (date ? [ago(date), h("span", { class: "muted" }, ` ${moment(date)}`)] : h("span", { class: "muted" }, missing));

function drawSchedules(schedules, page) {
  const columns = [{ title: "Schedule", class: "name" }, { title: "Rhythm" }, { title: "Action" }, { title: "Next" }, { title: "Last", class: "wide" }, { title: "", class: "deeds" }];
  const rows = schedules.map((one) => ({ key: one.id, cells: [
    [h("strong", null, one.name), one.description ? h("div", { class: "muted" }, one.description) : null],
    rhythm(one), one.action,
    one.paused ? h("span", { class: "tag" }, pauseWords(one.paused)) : fact(one.next, "never"),
    one.fired ? [fact(one.fired.at), one.fired.job ? h("a", { href: to(one.fired.job) }, " its job") : null] : fact(null, "not yet"),
    isAdmin() ? drawScheduleDeeds(one, page) : null,
  ] }));
  return panel("Schedules", table("schedules", columns, rows, "There is no schedule."));
}

function pauseWords(paused) {
  return `paused by ${paused.by}${paused.until ? `, ends ${age(paused.until)}` : ""}${paused.why ? `: ${paused.why}` : ""}`;
}

function drawScheduleDeeds(one, page) {
  const act = (verb, body) => async () => {
    await post(`${one.id}/${verb}`, body);
    page.reload();
  };
  const confirmPause = () => ask({ title: `Pause ${one.name}?`, words: "It makes no jobs until it is resumed.", verb: `Pause ${one.name}`, fields: whyField(), run: (values) => act("pause", values.why.trim() ? { why: values.why.trim() } : {})() });
  const confirmResume = () => ask({ title: `Resume ${one.name}?`, words: "Ticks that passed in the pause make no jobs.", verb: `Resume ${one.name}`, run: act("resume") });
  return [fireButton(one.name, one.id, page), one.paused ? h("button", { onclick: confirmResume }, "Resume") : h("button", { onclick: confirmPause }, "Pause")];
}

function fireButton(name, id, page) {
  const idempotencyKey = newKey();
  const run = async () => {
    const fired = await post(`${id}/fire`, { idempotencyKey });
    page.say(`${name} fired: ${counted(fired.made ?? fired.jobs.length, "job")}.`);
    page.reload();
  };
  return h("button", { onclick: () => ask({ title: `Fire ${name} now?`, words: "It makes its jobs at once, beside its ticks.", verb: `Fire ${name}`, run }) }, "Fire");
}

function drawDistributors(distributors, page) {
  const columns = [{ title: "Distributor", class: "name" }, { title: "Rhythm" }, { title: "Leader" }, { title: "Next" }, { title: "Last", class: "wide" }, { title: "", class: "deeds" }];
  const rows = distributors.map((one) => ({ key: one.name, cells: [
    h("strong", null, one.name), rhythm(one), one.leader ?? h("span", { class: "trouble" }, "none"), fact(one.next, rhythm(one) ? "never" : ""),
    one.fired ? [fact(one.fired.at ?? one.fired.tick), one.fired.made === undefined ? null : ` ${counted(one.fired.made, "job")}`] : fact(null, "not yet"),
    isAdmin() && rhythm(one) && one.leader ? fireButton(one.name, `distributor/${encodeURIComponent(one.name)}`, page) : null,
  ] }));
  return panel("Distributors", table("distributors", columns, rows, "No distributor is alive."));
}

function drawServers(nodes) {
  const others = nodes.filter((node) => node.role !== "executor");
  const columns = [{ title: "Process", class: "name" }, { title: "Role" }, { title: "Leads", class: "wide" }, { title: "Up", class: "when" }, { title: "Version" }, { title: "Host", class: "name" }];
  return panel("Servers and distributors", table("processes", columns, others.map((node) => ({ key: `${node.role} ${node.name}`, cells: [h("strong", null, node.name), node.role, (node.leads ?? []).join(", "), ago(node.since), node.version, `${node.host} (${node.pid})`] })), "None is alive."));
}
