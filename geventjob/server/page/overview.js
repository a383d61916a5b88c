// The overview: what needs attention, the jobs by state, the last hour, the queue and the fleet.

import { to } from "./address.js";
import { get, known, search, seesAll } from "./api.js";
import { lines } from "./chart.js";
import { h } from "./dom.js";
import { facts, figure, panel, table } from "./table.js";
import { FINAL, STATES, ago, badge, count, counted, localDates, span } from "./words.js";

export const overviewScreen = {
  title: () => "Overview",

  async load() {
    const states = search("job", { last: 0, aggregation: "terms:state" });
    const latest = search("job", { filter: "state='FAILED'", last: 5, orderby: "updated:desc", select: "id,action,name,statusMessage,updated" });
    const fleet = seesAll() ? [get("node"), get("queue"), known("rate"), known("attention")] : [];
    const [counts, failed, nodes, queue, rate, attention] = await Promise.all([states, latest, ...fleet]);
    const buckets = counts.aggregations?.["terms:state"]?.buckets ?? [];
    return {
      states: Object.fromEntries(buckets.map((bucket) => [bucket.key, bucket.doc_count])),
      failed: failed.jobs,
      nodes: nodes?.nodes,
      queue,
      minutes: rate?.minutes,
      attention: attention?.attention,
    };
  },

  take(data, name, value) {
    if (name === "queue") data.queue = { ...data.queue, ...value };
    if (name === "nodes") data.nodes = value.nodes;
    return name === "queue" || name === "nodes";
  },

  draw(data) {
    return [
      h("h1", null, "Overview"),
      data.attention ? drawAttention(data.attention) : null,
      h("div", { class: "figures" }, STATES.map((state) => figure(state, count(data.states[state] ?? 0), null, to("jobs", { state }), `is-${state.toLowerCase()}`))),
      data.minutes ? drawHour(data.minutes) : null,
      h("div", { class: "columns" }, data.queue ? drawQueueSummary(data) : null, data.nodes ? drawFleetSummary(data.nodes) : null),
      panel("Latest failures", table("latest failures", [{ title: "Job" }, { title: "Message", class: "wide" }, { title: "When", class: "when" }], data.failed.map(failedRow), "No job has failed.")),
    ];
  },
};

function failedRow(job) {
  return { key: job.id, cells: [h("a", { href: to(job.id) }, job.name ?? job.action), job.statusMessage ?? "", ago(job.updated)] };
}

function drawAttention(sentences) {
  if (!sentences.length) return h("p", { key: "attention", class: "well" }, "Nothing needs attention.");
  return h("section", { key: "attention", class: "attention", "aria-label": "Needs attention" },
    h("ul", null, sentences.map((one) => h("li", null, localDates(one.text), " ", attentionLink(one)))));
}

function attentionLink(one) {
  if (one.filter) return h("a", { href: to("jobs", { filter: one.filter }) }, "Show the jobs");
  if (one.action) return h("a", { href: to("jobs", { action: one.action, state: one.kind === "failure-rate" ? "FAILED" : "QUEUED" }) }, "Show the jobs");
  return ["no-executor", "no-leader"].includes(one.kind) ? h("a", { href: to("fleet") }, "Show the fleet") : null;
}

function drawHour(minutes) {
  const moments = minutes.map((minute) => minute.at);
  const series = (name, kind, field) => ({ name, kind, values: minutes.map((minute) => minute[field] ?? null) });
  return panel("Last hour", h("div", { class: "charts" },
    lines("Jobs per minute", moments, [series("added", "in", "in"), series("ended", "out", "out"), series("failed", "failed", "failed")]),
    lines("Queue depth", moments, [series("entries", "in", "depth")])));
}

function drawQueueSummary(data) {
  const queue = data.queue;
  return panel("Queue", facts([
    ["Waiting", count(Math.max(0, queue.entries - queue.taken))],
    ["Taken", count(queue.taken)],
    ["Oldest entry", queue.oldest ? span(queue.oldest) : "none"],
    ["Not ended", counted(STATES.filter((state) => !FINAL.includes(state)).reduce((sum, state) => sum + (data.states[state] ?? 0), 0), "job")],
  ]));
}

function drawFleetSummary(nodes) {
  const executors = nodes.filter((node) => node.role === "executor");
  const slots = executors.reduce((sum, node) => sum + (node.slots ?? 0), 0);
  const running = executors.reduce((sum, node) => sum + (node.running ?? 0), 0);
  const leads = nodes.flatMap((node) => (node.leads ?? []).map((name) => `${name}: ${node.name}`));
  return panel("Fleet", facts([
    ["Executors", h("a", { href: to("fleet") }, executors.length ? counted(executors.length, "executor") : "none alive")],
    ["Slots in use", `${count(running)} of ${count(slots)}`],
    ["Servers", count(nodes.filter((node) => node.role === "server").length)],
    ["Leaders", leads.join(", ")],
  ]));
}
