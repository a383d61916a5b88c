// One job: what it is, why it does not run, what happened to it, what it logs, and what can be done with it.

import { go, to } from "./address.js";
import { get, known, mayAdd, mayChange, post, quoted, remove, search } from "./api.js";
import { ask, copy, field } from "./dialog.js";
import { h } from "./dom.js";
import { VERBS, doAll } from "./jobs.js";
import { facts, panel, table } from "./table.js";
import { FINAL, age, ago, badge, count, counted, json, localDates, masked, moment, short, span, standing } from "./words.js";

const CHILDREN = 50;
const LOG_INTERVAL = 2_000;

export const jobScreen = {
  title: (page) => page.data?.job.name ?? `Job ${short(page.route.id)}`,

  async load(page) {
    const id = `job/${page.route.id}`;
    const job = await get(id);
    const nested = { filter: `parentJob=${quoted(id)}`, last: CHILDREN, orderby: "created", aggregation: "terms:state", select: "id,action,name,state,progress,held,statusMessage,duration" };
    const [why, log, record, children, events] = await Promise.all([get(`${id}/why`), get(`${id}/log`), get(`${id}/record`), search("job", nested), known(`${id}/event`)]);
    return { job, why, attempts: log.attempts, records: record.records, children, events: events?.events ?? [] };
  },

  take(data, name, value) {
    const news = name === "jobs" && value.jobs.find((job) => job.id === data.job.id);
    if (news) Object.assign(data.job, news);
    return Boolean(news);
  },

  isTouched: (data, { jobs, deleted, more }) =>
    more || deleted.includes(data.job.id) || jobs.some((job) => data.job.id === job.id || data.job.id === job.parentJob),

  // Lines of the log are no events.
  interval: (data) => (["RUNNING", "STOPPING"].includes(data.job.state) ? LOG_INTERVAL : null),

  draw(data, page) {
    const { job } = data;
    return [
      h("div", { class: "head" }, h("h1", null, job.name ?? job.action), h("span", { class: "big" }, standing(job)), h("code", { class: "muted" }, job.id)),
      drawDeeds(data, page),
      FINAL.includes(job.state) ? null : h("p", { key: "why", class: job.state === "QUEUED" ? "why" : "why calm" }, localDates(data.why.why)),
      ["RUNNING", "STOPPING"].includes(job.state) ? h("progress", { key: "progress", max: 100, value: job.progress ?? 0, "aria-label": "Progress" }) : null,
      job.statusMessage ? h("pre", { key: "message", class: "message" }, job.statusMessage) : null,
      h("div", { class: "columns" }, panel("Facts", drawFacts(job)), panel("Timeline", drawTimeline(data))),
      (job.errors ?? []).length ? panel("Errors", job.errors.toReversed().map(drawFailure)) : null,
      panel("Log", data.attempts.length ? data.attempts.map(drawAttempt) : h("p", { class: "empty" }, "The action has logged nothing.")),
      drawDocument("Payload", job.payload, "payload"),
      drawDocument("Output", job.output, "output"),
      drawDocument("Checkpoint", job.checkpoint, "checkpoint"),
      data.records.length ? panel("What it was doing", data.records.toReversed().map(drawRecord)) : null,
      drawChildren(job.id, data.children),
      h("details", { key: "all" }, h("summary", null, "The whole job as JSON"), h("p", null, h("a", { href: `api/${job.id}`, target: "_blank", rel: "noopener" }, "In a window of its own")), block("json", json(hidden(job)))),
    ];
  },
};

const hidden = (job) => ({ ...job, ...(job.payload ? { payload: masked(job.payload) } : {}) });

// --- what can be done

function drawDeeds({ job, children }, page) {
  const isOver = FINAL.includes(job.state);
  const act = (path, words) => async () => {
    try {
      await post(`${job.id}/${path}`);
      page.say(words);
    } catch (error) {
      page.say(`${error.message}.`);
    }
    page.reload();
  };
  const button = (title, onclick, kind) => h("button", { class: kind, onclick }, title);
  const mine = mayChange(job);
  return h("div", { key: "deeds", class: "verbs", role: "toolbar", "aria-label": "Job" },
    mine && !isOver ? button("Stop", () => confirmStop(job, children.count, page)) : null,
    mine && job.held ? button("Release", act("release", "The job is released.")) : null,
    mine && job.batch?.open ? button("Close the batch", act("close", "The batch takes no more jobs.")) : null,
    mine && job.state === "RUNNING" ? button("Stack now", act("stack", "The executor is asked; the stack appears under “What it was doing”.")) : null,
    mayAdd() && isOver ? button("Rerun", () => confirmRerun(job)) : null,
    mine ? button("Delete", () => confirmDelete(job), "danger") : null);
}

function confirmStop(job, children, page) {
  const words = job.state === "QUEUED" ? "The job does not run yet and will not run." : `The action is ended on ${job.executor}.`;
  const tick = h("input", { type: "checkbox" });
  const fields = children ? [field("children", `Stop its ${counted(children, "child job")} too`, tick)] : [];
  const run = async (values, tell) => {
    await post(`${job.id}/stop`);
    if (values.children) page.say(await doAll(VERBS.stop, `parentJob='${job.id}'`, children, tell));
    page.reload();
  };
  ask({ title: "Stop this job?", words, verb: "Stop the job", fields, run });
}

function confirmRerun(job) {
  const run = async () => go(to((await post(`${job.id}/rerun`))["resource-id"]));
  ask({ title: "Rerun this job?", words: "A copy of the job is added and runs as a new job.", verb: "Add the copy", run });
}

function confirmDelete(job) {
  const words = FINAL.includes(job.state) ? "The job, its log and its records are gone then." : "The job has not ended: it is ended, and gone with its log and its records.";
  const run = async () => {
    await remove(job.id);
    go(to("jobs"));
  };
  ask({ title: "Delete this job?", words, verb: "Delete the job", danger: true, run });
}

// --- what it is

function drawFacts(job) {
  const owner = job.acl?.owner;
  return facts([
    ["Action", h("a", { href: to("jobs", { action: job.action }) }, job.action)],
    ["Target", job.targetResource?.href],
    ["Description", job.description],
    ["Tags", (job.tags ?? []).map((tag) => h("a", { class: "tag", href: to("jobs", { tag }) }, tag))],
    ["Executor", job.executor],
    ["Attempts", attemptWords(job)],
    ["Took", span(job.duration)],
    ["Return code", job.returnCode],
    ["Priority", job.priority],
    ["Time limit", job.timeout ? span(job.timeout) : null],
    ["Expires", job.expires ? ago(job.expires) : null],
    ["Owner", owner ? `${owner.principal} (${owner.type.toLowerCase()})` : null],
    ["Waits for", waitsFor(job.held)],
    ["Runs after", (job.after?.jobs ?? []).map((id) => [h("a", { href: to(id) }, short(id)), " "])],
    ["Batch", job.batch ? batchWords(job.batch) : null],
    ["Limits", (job.limits ?? []).join(", ")],
    ["Parent", job.parentJob ? h("a", { href: to(job.parentJob) }, short(job.parentJob)) : null],
    ["Last change", ago(job.updated)],
    ...Object.entries(job.properties ?? {}).map(([name, value]) => [name, value]),
  ].filter(([, value]) => !(Array.isArray(value) && !value.length)));
}

function batchWords({ open, total, failed }) {
  if (total !== undefined) return `${counted(total, "job")}, ${count(failed)} without success`;
  return open ? "open: jobs may be added" : "closed: runs when all its jobs have ended";
}

// Return the one thing that a held job waits for: a limit, a pause, or a link to another job.
function waitsFor(held) {
  if (!held?.on) return null;
  return held.on.startsWith("job/") ? h("a", { href: to(held.on) }, short(held.on)) : held.on;
}

function attemptWords(job) {
  const extra = [job.retried ? `${job.retried} retried` : "", job.interruptions ? `${job.interruptions} interrupted` : ""].filter(Boolean);
  return job.attempts ? `${job.attempts}${extra.length ? ` (${extra.join(", ")})` : ""}` : null;
}

// Return what happened to a job, oldest first: from its attributes, errors, records and events.
function drawTimeline(data) {
  const { job, attempts, records, events } = data;
  const steps = [{ at: job.created, words: "added" }];
  if (job.started) steps.push({ at: job.started, words: "first started" });
  for (const one of attempts) steps.push({ at: one.at, words: `attempt ${one.attempt} logs on ${one.executor}` });
  for (const one of job.errors ?? []) steps.push({ at: one.at, kind: "failed", words: `attempt ${one.attempt} failed on ${one.executor ?? "its executor"}: ${one.type}` });
  for (const one of records) steps.push({ at: one.at, words: `${one.why}: record of attempt ${one.attempt}` });
  for (const one of events) steps.push({ at: one.timestamp ?? one.created, words: `${one.content?.state} by ${one.user}` });
  if (FINAL.includes(job.state)) steps.push({ at: ended(job), kind: job.state.toLowerCase(), words: [badge(job.state), job.duration === undefined ? "" : ` after ${span(job.duration) || "0 s"}`] });
  else if (job.held?.until) steps.push({ at: job.held.until, words: `runs again, or for the first time (${job.held.detail ?? job.held.why})` });
  steps.sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  return h("ol", { class: "timeline" }, steps.map((step) => h("li", { class: step.kind }, h("time", { datetime: step.at, title: age(step.at) }, moment(step.at)), " ", step.words)));
}

// Return the moment of a job's end: `updated` is later where somebody has edited the job since.
function ended(job) {
  if (!job.started || job.duration === undefined || job.duration === null) return job.updated;
  const end = Date.parse(job.started) + 1000 * (job.duration + 1);
  return end < Date.parse(job.updated) ? new Date(end).toISOString() : job.updated;
}

// --- texts

function block(key, text) {
  const pre = h("pre", { tabindex: "0" }, text);
  const button = h("button", { class: "copy", onclick: (event) => copy(event.target.nextElementSibling, event.target) }, "Copy");
  return h("div", { key, class: "block" }, button, pre);
}

function drawFailure(failure, at) {
  const key = `failure-${failure.at}-${failure.attempt}`;
  return h("details", { key, open: at === 0 },
    h("summary", null, h("strong", null, failure.type), ` ${withoutType(failure)} `, h("span", { class: "muted" }, `attempt ${failure.attempt}, ${failure.executor ?? ""} `, ago(failure.at))),
    failure.traceback ? block(key, failure.traceback) : null);
}

// Return the message of a failure, which may begin with the type.
function withoutType({ type, message }) {
  return message.startsWith(`${type}: `) ? message.slice(type.length + 2) : message;
}

function drawAttempt(attempt) {
  const cut = attempt.start ? `, from byte ${attempt.start.toLocaleString("en")} on` : "";
  return h("div", { key: `log-${attempt.attempt}` },
    h("p", { class: "muted" }, `Attempt ${attempt.attempt} on ${attempt.executor}, `, ago(attempt.at), cut),
    block(`lines-${attempt.attempt}`, attempt.text));
}

function drawRecord(record) {
  const key = `record-${record.at}-${record.why}`;
  return h("details", { key, open: record.why === "asked" },
    h("summary", null, h("strong", null, record.why), ` attempt ${record.attempt} on ${record.executor}, ran ${span(record.ran)} `, h("span", { class: "muted" }, ago(record.at))),
    record.hubHeld ? h("p", { class: "muted" }, `The hub of the executor was held for ${span(record.hubHeld)}.`) : null,
    block(key, [record.stack, record.lines?.length ? `Last lines:\n${[record.lines].flat().join("\n")}` : ""].flat().filter(Boolean).join("\n\n")));
}

function drawDocument(title, value, key) {
  return value === undefined ? null : panel(title, block(key, json(key === "payload" ? masked(value) : value)));
}

function drawChildren(parent, children) {
  if (!children.count) return null;
  const rows = children.jobs.map((job) => ({ key: job.id, cells: [standing(job), h("a", { href: to(job.id) }, job.name ?? job.action), job.statusMessage ?? "", span(job.duration)] }));
  const states = (children.aggregations?.["terms:state"]?.buckets ?? []).map((bucket) => `${count(bucket.doc_count)} ${bucket.key}`);
  const all = h("a", { href: to("jobs", { filter: `parentJob='${parent}'` }) }, counted(children.count, "job"));
  return panel("Children", h("p", null, all, states.length ? `: ${states.join(", ")}` : ""), table("children", [{ title: "State" }, { title: "Job" }, { title: "Message", class: "wide" }, { title: "Took", class: "number" }], rows, ""));
}
