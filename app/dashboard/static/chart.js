// A line over time. Rule: the scale begins at 0 and says its top; gaps stay gaps; what it shows is also said in words.

import {attribute, h, write} from "./dom.js";
import {timeOfDay} from "./format.js";
import {known, line} from "./spark.js";

const WIDTH = 560, HEIGHT = 120;

// The next round number: 1, 2, 5, 10 ... for counts, minutes and their parts for times, whole for ratios.
export function top(most, kind) {
  if (kind === "ratio") return 1;
  const steps = kind === "time" ? [10e3, 30e3, 60e3, 120e3, 300e3, 600e3, 1800e3, 3600e3] : [];
  const fitting = steps.find((step) => step >= most);
  if (fitting) return fitting;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= most);
}

export function createChart(name, text, kind) {
  const area = h("path", {class: "area"}), stroke = h("path", {class: "stroke"});
  const grid = h("path", {class: "grid", d: `M0 2H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 2}H${WIDTH}`});
  const svg = h("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img"}, grid, area, stroke);
  const most = h("span", {class: "most"}), from = h("span"), until = h("span"), now = h("b"), at = h("span", {class: "at"});
  const cursor = h("span", {class: "cursor", hidden: true});
  const plot = h("div", {class: "plot"}, svg, most, cursor);
  const figure = h("figure", {class: "chart"}, h("figcaption", {}, h("span", {}, name), at, now), plot, h("p", {class: "times"}, from, until));
  let shown = {times: [], values: []};

  plot.addEventListener("pointermove", (event) => {
    const {times, values} = shown;
    if (times.length < 2) return;
    const box = plot.getBoundingClientRect();
    const wanted = times[0] + ((event.clientX - box.left) / box.width) * (times.at(-1) - times[0]);
    const i = times.reduce((best, time, n) => (Math.abs(time - wanted) < Math.abs(times[best] - wanted) ? n : best), 0);
    cursor.hidden = false;
    cursor.style.left = `${((times[i] - times[0]) / (times.at(-1) - times[0])) * 100}%`;
    write(at, `${timeOfDay(times[i])}: ${text(values[i])}`);
  });
  plot.addEventListener("pointerleave", () => {
    cursor.hidden = true;
    write(at, "");
  });

  return {
    figure,
    show(times, values) {
      shown = {times, values};
      const high = top(Math.max(0, ...known(values)), kind);
      const path = values.length > 1 ? line(values, WIDTH, HEIGHT, values.length, high) : "";
      attribute(stroke, "d", path);
      attribute(area, "d", path && !values.some((value) => value == null) ? `${path}V${HEIGHT}H0Z` : "");
      write(most, kind === "ratio" ? "100 %" : text(high));
      write(from, times.length > 1 ? timeOfDay(times[0]) : "The line starts with the next points");
      write(until, times.length > 1 ? "now" : "");
      write(now, text(values.at(-1)));
      const seen = known(values);
      attribute(svg, "aria-label", seen.length ? `${name} since ${timeOfDay(times[0])}: now ${text(values.at(-1))}, lowest ${text(Math.min(...seen))}, highest ${text(Math.max(...seen))}` : `${name}: no data yet`);
    },
  };
}
