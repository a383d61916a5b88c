// Failures by action, type of error and place.

import { to } from "./address.js";
import { known, mayAdd, search } from "./api.js";
import { bars } from "./chart.js";
import { ask } from "./dialog.js";
import { h } from "./dom.js";
import { VERBS, doAll } from "./jobs.js";
import { table } from "./table.js";
import { ago, count, counted } from "./words.js";

const HOURS = 24;

export const failuresScreen = {
  title: () => "Failures",

  async load() {
    return (await known("failure")) ?? { count: 0, failures: [] };
  },

  draw(data, page) {
    const columns = [{ title: "Action" }, { title: "Error", class: "wide" }, { title: "Count", class: "number" }, { title: "Last 24 hours" }, { title: "First", class: "when" }, { title: "Last", class: "when" }, { title: "Jobs" }];
    const rows = data.failures.map((failure) => ({ key: failure.id, cells: failureCells(failure, page) }));
    return [
      h("div", { class: "head" }, h("h1", null, "Failures"), h("span", { class: "muted" }, counted(data.count, "group"))),
      table("failures", columns, rows, "No job has failed in the last 7 days."),
    ];
  },
};

function failureCells(failure, page) {
  const filter = failureFilter(failure);
  return [
    failure.action,
    [h("strong", null, failure.type), failure.place ? h("code", { class: "muted" }, ` ${failure.place}`) : null, h("div", { class: "clip", title: failure.message }, failure.message)],
    count(failure.count),
    bars(`${counted(failure.count, "failure")} of ${failure.action}`, hourly(failure.hours ?? [])),
    ago(failure.first),
    ago(failure.last),
    h("div", { class: "verbs" },
      h("a", { class: "button", href: to("jobs", { filter }) }, "Show"),
      failure.job ? h("a", { class: "button", href: to(failure.job) }, "Last one") : null,
      mayAdd() ? h("button", { onclick: () => confirmGroup(failure, filter, page) }, "Rerun") : null),
  ];
}

const failureFilter = (failure) => `failure='${failure.id.replace(/^failure\//, "")}' and state='FAILED'`;

// Return the counts of the last 24 hours, oldest first.
function hourly(hours) {
  const counts = new Map(hours.map((hour) => [Math.floor(Date.parse(hour.at) / 3_600_000), hour.count]));
  const present = Math.floor(Date.now() / 3_600_000);
  return Array.from({ length: HOURS }, (_, at) => counts.get(present - HOURS + 1 + at) ?? 0);
}

async function confirmGroup(failure, filter, page) {
  let number;
  try {
    number = (await search("job", { filter, last: 0 })).count;
  } catch (error) {
    return page.say(`${error.message}.`);
  }
  const jobs = counted(number, "job");
  const until = `(${filter}) and created<=${new Date().toISOString()}`;
  const run = async (_, tell) => page.say(await doAll(VERBS.rerun, until, number, tell));
  ask({ title: `Rerun ${jobs} of ${failure.action}?`, words: `All jobs in FAILED with ${failure.type}${failure.place ? ` at ${failure.place}` : ""} are added again as new jobs.`, verb: `Rerun ${jobs}`, run });
}
