// Alerts in words. Rule: pure; figures are written as everywhere on the page, and a ratio never without its count.

import {age, duration, moment, number, percent} from "./format.js";
import {FIGURES} from "./labels.js";

// A metric that is no figure of ours yet: named by its own name, written by its ending.
function unknown(metric) {
  const name = metric.replace(/_ms$/, "").replaceAll("_", " ");
  const text = /_(ratio|level|share)$/.test(metric) ? percent : metric.endsWith("_ms") ? duration : number;
  return {name: name.charAt(0).toUpperCase() + name.slice(1), text};
}

// "Answer rate 25.0 % of 120, below 50.0 %"; without a window it is a silence: "Calls 0, 12 expected".
export function sentence({metric, window, value, n, threshold}) {
  const {name, text} = FIGURES.get(metric) ?? unknown(metric);
  const figure = `${name} ${text(value)}${n && n !== value ? ` of ${number(n)}` : ""}`;
  if (threshold == null) return figure;
  if (window == null) return `${figure}, ${text(threshold)} expected`;
  const side = value == null ? "compared with" : value < threshold ? "below" : value > threshold ? "above" : "at";
  return `${figure}, ${side} ${text(threshold)}`;
}

// What it is about: a DID, or a group by its name. Its view has that address.
export const about = (one) => one.did ?? one.shown;

export const spoken = (one) => `${one.rule}, ${one.shown}: ${sentence(one)}`;

export const began = (one, now) => `since ${moment(one.since, now)}`;

// A minute that has begun says no more than "now".
export const lasted = (one, now) => `${one.until == null ? "for" : "lasted"} ${age(Math.max(2_000, (one.until ?? now) - one.since))}`;

export const newestFirst = (episodes, key) => episodes.sort((a, b) => b[key] - a[key] || (a.id < b.id ? -1 : 1));
