// Requests to the HTTP API. The browser adds the cookie of the session; the script never sees it.

const BASE = new URL("api/", location.href);
const PATIENCE = 70_000;

// An answer other than 2xx, or none: `status` is 0 when the server is out of reach.
export class ApiError extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  get isAway() {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }
}

// Send a request and return the answer's JSON. Throws ApiError.
export async function request(method, path, body, headers = {}) {
  let answer, text;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    answer = await fetch(new URL(path, BASE), { method, body, headers, signal, credentials: "same-origin" });
    text = await answer.text();
  } catch {
    throw new ApiError(0, "the job server is out of reach");
  }
  const found = parsed(text);
  if (answer.ok && found !== null) return found;
  const message = found?.message ?? `the server answered ${answer.status} ${answer.statusText}`;
  throw new ApiError(found === null && answer.ok ? 0 : answer.status, message, Number(answer.headers.get("Retry-After")));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const get = (path) => request("GET", path);
export const remove = (path) => request("DELETE", path);

// Return the answer of a request that an older server does not know, else null.
export async function known(path) {
  try {
    return await get(path);
  } catch (error) {
    if (error.status === 404 || error.status === 405) return null;
    throw error;
  }
}

export function post(path, body) {
  return body === undefined
    ? request("POST", path)
    : request("POST", path, JSON.stringify(body), { "Content-Type": "application/json" });
}

export function put(path, body) {
  return request("PUT", path, JSON.stringify(body), { "Content-Type": "application/json" });
}

// Search a collection: `search("job", {filter: ["state='QUEUED'"], last: 20})`. A form has room for long filters.
export function search(kind, parameters) {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of [value].flat()) if (each !== undefined && each !== "") form.append(`$${name}`, each);
  }
  return request("PUT", kind, form);
}

// Return a text as a filter holds it. Throws an Error in words (docs/reference/filters.md, "Values").
export function quoted(text) {
  const quote = text.includes("'") ? '"' : "'";
  const backslashes = text.length - text.replace(/\\+$/, "").length;
  if (text.includes(quote) || backslashes % 2) {
    throw new Error("a filter cannot hold a text with both kinds of quotes, or with a backslash at its end");
  }
  return quote + text + quote;
}

// Return a new idempotency key. (`crypto.randomUUID` is there over https alone.)
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- the session

export const user = { name: undefined, roles: [], session: null };

// Ask who is logged in, and return the name: null for nobody. Before, the name is undefined. Throws ApiError.
export async function whoAmI() {
  const session = (await get("session")).sessions[0];
  user.name = session?.username ?? null;
  user.roles = session?.roles.split(" ") ?? [];
  user.session = session?.id ?? null;
  return user.name;
}

export async function logIn(username, password) {
  await post("session", { sessionTemplate: { href: "session-template/internal", username, password } });
  return whoAmI();
}

export async function logOut() {
  await remove(user.session);
  user.name = null;
}

export function hasRole(...roles) {
  return roles.some((role) => user.roles.includes(role));
}

export const seesAll = () => hasRole("ADMIN", "VIEWER", "EXECUTOR");
export const mayAdd = () => hasRole("ADMIN", "SUBMITTER");
export const isAdmin = () => hasRole("ADMIN");

// Return whether the caller may change this document: the server lists its operations.
export function mayChange(document) {
  return (document.operations ?? []).some((operation) => operation.rel === "edit");
}
