// The stream of events of a browser: one window has it, and passes the events on to the others. A browser opens six
// connections to a server, and a stream takes one for good: a seventh window would get nothing any more.

const STREAMED = ["reset", "jobs", "nodes", "queue", "end"];

export class Stream {
  // `hear(name, value)` takes each event, and "reset" when events may have been missed.
  constructor(hear) {
    this.hear = hear;
    this.isOpen = false;
    this.source = null;
    this.channel = null;
    this.leave = null;
  }

  // Take part, unless this window does so already. Without locks, as on a page without TLS, each window has its own.
  open() {
    if (this.channel) return;
    const leaving = new Promise((resolve) => (this.leave = resolve));
    const channel = new BroadcastChannel(location.pathname);
    this.channel = channel;
    if (!navigator.locks) return this.connect();
    channel.onmessage = (message) => this.take(...message.data);
    channel.postMessage(["hello"]);
    const abort = new AbortController();
    leaving.then(() => abort.abort());
    const lead = () => channel === this.channel && (this.connect(), leaving);
    navigator.locks.request(location.pathname, { signal: abort.signal }, lead).catch(() => {});
  }

  close() {
    this.source?.close();
    this.channel?.close();
    this.leave?.();
    this.source = this.channel = null;
    this.isOpen = false;
  }

  // The browser connects again by itself, unless the server refuses: then another window may try.
  connect() {
    const source = new EventSource(new URL("api/events", location.href));
    this.source = source;
    source.onopen = () => this.tell("open", true);
    source.onerror = () => {
      this.tell("open", false);
      if (source.readyState === EventSource.CLOSED) this.close();
    };
    for (const name of STREAMED) {
      source.addEventListener(name, (event) => this.tell(name, event.data ? JSON.parse(event.data) : null));
    }
  }

  tell(name, value) {
    this.channel?.postMessage([name, value]);
    this.take(name, value);
  }

  take(name, value) {
    if (name === "hello") {
      if (this.source) this.channel.postMessage(["open", this.isOpen]);
      return;
    }
    const isState = name === "open";
    this.isOpen = isState ? value : true;
    this.hear(isState ? "reset" : name, value);
  }
}
