// Charts as SVG: lines and bars over time.

import { h, svg } from "./dom.js";
import { clock, count } from "./words.js";

const WIDTH = 600;
const HEIGHT = 120;
const BASE_LINE = 100;

// Return a chart of series over the same moments. `series`: {name, kind, values}; null is a gap.
export function lines(title, moments, series) {
  const greatest = Math.max(1, ...series.flatMap((one) => one.values.filter((value) => value !== null)));
  const x = (at) => (at * WIDTH) / Math.max(1, moments.length - 1);
  const y = (value) => BASE_LINE - (value * (BASE_LINE - 8)) / greatest;
  const paths = series.map((one) => svg("path", { class: `line ${one.kind}`, d: path(one.values, x, y) }));
  return chart(title, summary(series), moments, greatest, [
    ...[0, 0.5, 1].map((share) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y(share * greatest), y2: y(share * greatest) })),
    ...paths,
  ], series);
}

// Return a small bar chart of counts over time.
export function bars(title, values) {
  const greatest = Math.max(1, ...values);
  const width = 240 / values.length;
  const drawn = values.map((value, at) => {
    const height = value ? Math.max(2, (value * 24) / greatest) : 0.5;
    return svg("rect", { class: value ? "bar" : "bar none", x: at * width, y: 26 - height, width: Math.max(1, width - 1), height });
  });
  return svg("svg", { class: "bars", viewBox: "0 0 240 26", preserveAspectRatio: "none", role: "img", "aria-label": title }, drawn);
}

function path(values, x, y) {
  let pen = "M";
  return values.map((value, at) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const step = `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    const dot = pen === "M" ? "h0" : ""; // a value between two gaps is seen too
    pen = "L";
    return step + dot;
  }).join("");
}

function summary(series) {
  return series.map((one) => `${one.name}: at most ${count(Math.max(0, ...one.values.filter((value) => value !== null)))}`).join(", ");
}

function chart(title, words, moments, greatest, drawn, series) {
  const ends = moments.length ? [moments[0], moments[moments.length - 1]] : [];
  return h("figure", { key: title, class: "chart" },
    h("figcaption", null, h("strong", null, title), series.map((one) => h("span", { class: `legend ${one.kind}` }, one.name)), h("span", { class: "muted" }, `peak ${count(Math.round(greatest * 10) / 10)}`)),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT - 14}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}. ${words}` }, drawn),
    h("div", { class: "ends muted" }, ends.map((date) => h("span", null, clock(date)))));
}
