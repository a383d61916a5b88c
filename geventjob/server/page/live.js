// When to look anew: the server's events say what has changed; without them the page looks at intervals.

import { Stream } from "./stream.js";

const INTERVAL = 5_000;
const QUIET_INTERVAL = 15_000;
const SOON = 1_000;
const MANY = 2; // events a second
const SHARE = 20;

// Looks again and again, each time after the last look: soon after an event, else at intervals, and never for more than a
// 20th of the time. While many events call for a look, looks are INTERVAL apart: ten pages that looked each second took a
// third of a busy server. Nothing happens while the page is hidden.
export class Live {
  // `page.look()` returns the ms until the next attempt after a failure, else 0. `page.hear(name, value)` takes an event
  // and returns whether to look anew. `page.interval()` returns the ms between looks, where a screen needs its own.
  constructor(page) {
    this.page = page;
    this.stream = new Stream((name, value) => this.hear(name, value));
    this.cost = 0;
    this.looks = 0;
    this.isStale = false;
    this.began = 0;
    this.changes = 0;
    this.soon = SOON;
    this.due = Infinity;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
  }

  start() {
    if (!document.hidden) this.lookAfter(0);
  }

  stop() {
    this.stream.close();
    clearTimeout(this.timer);
    this.due = Infinity;
  }

  // Look anew in so many ms, or when a look is due already.
  lookAfter(delay) {
    const due = Date.now() + delay;
    if (due >= this.due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => this.run(), delay);
  }

  async run() {
    this.due = Infinity;
    this.looks += 1;
    this.isStale = false;
    const began = performance.now();
    this.soon = this.changes > (MANY * (began - this.began)) / 1000 ? INTERVAL : SOON;
    this.began = began;
    this.changes = 0;
    const failed = await this.page.look();
    this.cost = performance.now() - began;
    this.looks -= 1;
    if (document.hidden) return;
    if (!failed && this.page.isLoggedIn()) this.stream.open();
    const interval = this.page.interval() ?? (this.stream.isOpen ? QUIET_INTERVAL : INTERVAL);
    this.lookAfter(failed || this.rest(this.isStale ? this.soon : interval));
  }

  // Look anew soon: something has changed. A look in progress may have missed the change.
  changed() {
    this.changes += 1;
    if (this.looks) this.isStale = true;
    else this.lookAfter(this.rest(this.soon));
  }

  rest(least) {
    return Math.max(least, this.cost * SHARE);
  }

  hear(name, value) {
    if (name === "end") this.lookAfter(0);
    else if (this.page.hear(name, value)) this.changed();
  }
}
