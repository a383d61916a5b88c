// The address of the page: the part behind `#` is screen, id and search, as `#/jobs?state=FAILED`.

// Return the screen, the id and the parameters that the address names.
export function here() {
  const [path, query] = split(location.hash.replace(/^#\/?/, ""));
  const [screen, ...rest] = path.split("/");
  return { screen: screen || "overview", id: rest.map(decoded).join("/"), search: new URLSearchParams(query) };
}

function split(text) {
  const mark = text.indexOf("?");
  return mark < 0 ? [text, ""] : [text.slice(0, mark), text.slice(mark + 1)];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Return the address of a screen: `to("jobs", {state: "FAILED"})`, `to("job/1b9d…")`. Empty parameters are left out.
export function to(screen, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(given).toString();
  return `#/${screen.split("/").map(encodeURIComponent).join("/")}${query ? `?${query}` : ""}`;
}

export function go(address) {
  location.hash = address;
}
