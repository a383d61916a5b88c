// When to look anew: the server's events say what has changed; without them the page looks at intervals.

const INTERVAL = 5_000;
const SHARE = 20;
export const REPAINT = 250;

// Call `look()` again and again, each after the last: soon after an event, else after INTERVAL, and never for more than
// a 20th of the time. `merge(jobs)` gets changed jobs at once, `take(name, value)` the fleet and the queue. Nothing
// happens while the page is hidden, or nobody is logged in.
export class Live {
  constructor(look, merge, take, isWanted) {
    Object.assign(this, { look, merge, take, isWanted });
    this.cost = 0;
    this.timer = null;
    this.due = Infinity;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
  }

  start() {
    if (document.hidden) return;
    this.lookAfter(0);
  }

  stop() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.timer);
    this.due = Infinity;
  }

  // Look anew in so many ms, or when it is due already.
  lookAfter(delay) {
    const due = Date.now() + delay;
    if (due >= this.due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => this.run(), delay);
  }

  async run() {
    const began = performance.now();
    const failed = await this.look();
    this.cost = performance.now() - began;
    this.due = Infinity;
    if (!failed && this.isWanted()) this.listen();
    const rest = Math.max(this.cost * SHARE, 1_000);
    this.lookAfter(failed ? Math.max(failed, rest) : this.isListening ? Math.max(rest, 15_000) : Math.max(rest, INTERVAL));
  }

  get isListening() {
    return this.source?.readyState === EventSource.OPEN;
  }

  listen() {
    if (this.source && this.source.readyState !== EventSource.CLOSED) return;
    this.source = new EventSource(new URL("api/events", location.href));
    this.source.addEventListener("reset", () => this.changed());
    this.source.addEventListener("jobs", (event) => this.jobs(JSON.parse(event.data)));
    for (const name of ["nodes", "queue"]) {
      this.source.addEventListener(name, (event) => this.take(name, JSON.parse(event.data)));
    }
  }

  jobs(batch) {
    this.merge(batch.jobs);
    this.changed();
  }

  changed() {
    this.lookAfter(Math.max(1_000, this.cost * SHARE));
  }
}
