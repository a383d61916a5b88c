// Numbers, times and states in words.

import { h } from "./dom.js";

export const STATES = ["QUEUED", "RUNNING", "STOPPING", "SUCCESS", "FAILED", "STOPPED"];
export const FINAL = ["SUCCESS", "FAILED", "STOPPED"];
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const SECRET = /pass|secret|token|credential|api_?key|private/i;

// Return seconds in the largest two units: `3 min 20 s`.
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return seconds > 0 ? "under 1 s" : "0 s";
  let rest = Math.round(seconds);
  const first = UNITS.findIndex(([size]) => rest >= size);
  const words = [];
  for (const [size, unit] of UNITS.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count) words.push(`${count} ${unit}`);
  }
  return words.join(" ");
}

// Return the time since a date, or until it, in its largest unit.
export function age(date) {
  const seconds = (Date.now() - Date.parse(date)) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  const [size, unit] = UNITS.find(([size]) => Math.abs(seconds) >= size);
  const count = Math.floor(Math.abs(seconds) / size);
  return seconds > 0 ? `${count} ${unit} ago` : `in ${count} ${unit}`;
}

// Return an element that shows the age of a date; the date itself is its title.
export function ago(date) {
  return date ? h("time", { datetime: date, title: moment(date) }, age(date)) : "";
}

// Return a date in the time zone of the browser: `2026-04-02 08:15:30`.
export function moment(date) {
  if (!date) return "";
  const at = new Date(date);
  const day = [at.getFullYear(), at.getMonth() + 1, at.getDate()].map(twoDigits).join("-");
  return `${day} ${clock(date)}:${twoDigits(at.getSeconds())}`;
}

// Return a sentence of the server with its dates in the time zone of the browser.
export function localDates(text) {
  return text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, moment);
}

// Return the hour and minute of a date: `08:15`.
export function clock(date) {
  const at = new Date(date);
  return `${twoDigits(at.getHours())}:${twoDigits(at.getMinutes())}`;
}

function twoDigits(number) {
  return String(number).padStart(2, "0");
}

export function count(number) {
  return number.toLocaleString("en");
}

// Return a number and its noun: `1 job`, `2,000 jobs`.
export function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export function badge(state) {
  return h("span", { class: `state ${STATES.includes(state) ? state.toLowerCase() : ""}` }, state);
}

// Return the state of a job, with its progress while it runs and what it waits for while it is held.
export function standing(job) {
  const runs = ["RUNNING", "STOPPING"].includes(job.state) && job.progress;
  return [badge(job.state), runs ? ` ${job.progress} %` : null, job.held ? h("span", { class: "muted" }, ` ${heldWords(job.held)}`) : null];
}

export function heldWords(held) {
  const until = held.until ? ` ${age(held.until)}` : "";
  return `${{ notBefore: "due", pause: "paused" }[held.why] ?? held.why}${until}`;
}

// Return the short form of an id: `job/1b9d6bcd`.
export function short(id) {
  return id.replace(/^job\//, "").slice(0, 8);
}

export function bytes(number) {
  return number < 1024 ? `${number} bytes` : `${count(Math.round(number / 1024))} KB`;
}

export function json(value) {
  return JSON.stringify(value, null, 2);
}

// Return a copy of JSON in which the values of fields with secret names are hidden.
export function masked(value, name = "") {
  if (name && SECRET.test(name) && value !== null && typeof value !== "object") return "••••••";
  if (Array.isArray(value)) return value.map((item) => masked(item, name));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, masked(inner, key)]));
}
