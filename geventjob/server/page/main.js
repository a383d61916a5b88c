// The page: which screen is shown, when it is loaded and painted, and what is said when that fails.

import { actionsScreen } from "./actions.js";
import { here, to } from "./address.js";
import { ApiError, logOut, user, whoAmI, seesAll, hasRole } from "./api.js";
import { auditScreen } from "./audit.js";
import { h, paint } from "./dom.js";
import { failuresScreen } from "./failures.js";
import { fleetScreen } from "./fleet.js";
import { jobScreen } from "./job.js";
import { jobsScreen } from "./jobs.js";
import { Live } from "./live.js";
import { drawLogIn } from "./login.js";
import { overviewScreen } from "./overview.js";

const SCREENS = { overview: overviewScreen, jobs: jobsScreen, job: jobScreen, failures: failuresScreen, actions: actionsScreen, fleet: fleetScreen, audit: auditScreen };
const RETRIES = [1_000, 2_000, 5_000];
const REPAINT = 250;
const notice = { away: "", failures: 0, words: "" };
let shown = null;
let paintTimer = null;
let painted = 0;

// What a screen may do: its address, what it remembers while it is shown, and how it asks for another look.
function opened() {
  const route = here();
  return {
    route,
    screen: SCREENS[route.screen],
    data: null,
    error: null,
    memory: {},
    repaint,
    restart: open,
    reload: () => live.lookAfter(0),
    say,
  };
}

function open() {
  const isNew = !shown || shown.route.screen !== here().screen || shown.route.id !== here().id;
  const memory = isNew ? {} : shown.memory;
  const data = isNew ? null : shown.data;
  shown = Object.assign(opened(), { memory, data });
  notice.words = "";
  draw();
  if (isNew) document.getElementById("main").focus({ preventScroll: true });
  if (isNew) scrollTo(0, 0);
  live.start();
}

// Load what the screen shows. Returns the ms until the next attempt after a failure, else 0.
async function look() {
  const page = shown;
  try {
    if (!user.name && !(await whoAmI())) return settled(page, null, null);
    if (!page.screen) return settled(page, null, null);
    return settled(page, await page.screen.load(page), null);
  } catch (error) {
    if (!(error instanceof ApiError)) return settled(page, null, error);
    if (error.isAway) return away(error);
    if (error.status === 403 && !(await isLoggedIn())) return settled(page, null, null);
    return settled(page, null, error);
  }
}

function settled(page, data, error) {
  Object.assign(notice, { away: "", failures: 0 });
  if (page === shown) {
    Object.assign(page, { data, error });
    repaint();
  }
  return 0;
}

function away(error) {
  notice.away = error.status === 429 ? "The server asks to wait" : `Out of date: ${error.message}`;
  notice.failures += 1;
  repaint();
  return RETRIES[Math.min(notice.failures, RETRIES.length) - 1];
}

async function isLoggedIn() {
  try {
    return await whoAmI();
  } catch {
    return true;
  }
}

// Take an event; return whether the screen must be loaded anew. A screen takes what it can at once (`take`), and says
// which changes of jobs concern it (`isTouched`); without, all do.
function hear(name, value) {
  const { screen, data } = shown;
  if (!data || !screen) return true;
  if (screen.take?.(data, name, value)) repaint();
  if (name === "reset") return true;
  return name === "jobs" && (screen.isTouched?.(data, value) ?? true);
}

function say(words) {
  notice.words = words;
  repaint();
}

// --- painting

// Paint soon: at most four times a second.
function repaint() {
  paintTimer ??= setTimeout(draw, Math.max(0, painted + REPAINT - performance.now()));
}

function draw() {
  clearTimeout(paintTimer);
  paintTimer = null;
  painted = performance.now();
  paint(document.getElementById("top"), top());
  paint(document.getElementById("notices"), notices());
  paint(document.getElementById("main"), content());
  document.title = `${user.name ? (shown.screen?.title(shown) ?? "Not found") : "Log in"} · geventjob`;
}

function top() {
  if (!user.name) return h("span", { class: "brand" }, "geventjob");
  const items = [["overview", "Overview"], ["jobs", "Jobs"], ["failures", "Failures"], ["actions", "Actions"], ["fleet", "Fleet"], ["audit", "Audit"]];
  const mine = items.filter(([name]) => ["overview", "jobs"].includes(name) || (name === "audit" ? hasRole("ADMIN", "VIEWER") : seesAll()));
  const current = shown.route.screen === "job" ? "jobs" : shown.route.screen;
  return [
    h("a", { class: "brand", href: to("overview") }, "geventjob"),
    h("nav", { "aria-label": "Screens" }, mine.map(([name, title]) => h("a", { href: to(name), "aria-current": name === current ? "page" : null }, title))),
    h("span", { class: "who" }, h("span", { class: "muted" }, user.name), h("button", { onclick: leave }, "Log out")),
  ];
}

async function leave() {
  try {
    await logOut();
  } catch (error) {
    return say(`Not logged out: ${error.message}`);
  }
  open();
}

function notices() {
  return [
    notice.away ? h("p", { key: "away", class: "notice trouble" }, `${notice.away}. The page comes back by itself.`) : null,
    notice.words ? h("p", { key: "words", class: "notice" }, notice.words, h("button", { onclick: () => say("") }, "Close")) : null,
  ];
}

function content() {
  if (user.name === null) return drawLogIn(shown);
  if (!user.name) return h("p", { class: "empty" }, notice.away ? "No connection yet." : "Loading …");
  if (!shown.screen) return h("p", { class: "empty" }, "There is no such screen. ", h("a", { href: to("overview") }, "Overview"));
  if (shown.error && !shown.screen.drawsErrors) return drawError(shown.error);
  if (!shown.data && !shown.error) return h("p", { class: "empty" }, notice.away ? "No connection yet." : "Loading …");
  return shown.screen.draw(shown.data, shown);
}

function drawError(error) {
  const words = error.status === 403
    ? "This account may not see this, or it does not exist."
    : `${error.message}${error.status ? ` (${error.status})` : ""}`;
  return h("div", { class: "panel" }, h("h1", null, "Not shown"), h("p", null, words), h("p", null, h("a", { href: to("overview") }, "Overview"), " · ", h("a", { href: to("jobs") }, "Jobs")));
}

const live = new Live({
  look,
  hear,
  interval: () => shown.data && shown.screen?.interval?.(shown.data),
  isLoggedIn: () => Boolean(user.name),
});
addEventListener("hashchange", open);
setInterval(() => document.hidden || repaint(), 5_000);
open();
